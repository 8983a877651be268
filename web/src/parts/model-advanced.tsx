// What few models need: which target goes first, its weight and priority, and how much the model may be used.
import { NumberInput, Select, SimpleGrid, Stack, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Fragment } from 'react';
import type { ServedModel } from '../api/client';
import { lists } from '../api/lists';
import { strategies, type Strategy } from '../api/routing';
import { useWords } from '../i18n';
import { Advanced } from './advanced';
import { type LimitDraft, LimitFields, limitDraft, limitNames, limitsOf } from './limit-fields';

export interface ModelMore { strategy: string; limits: LimitDraft }
type Target = Partial<Pick<ServedModel['targets'][number], 'weight' | 'priority'>> & { provider: string; upstream_model: string };

export const modelMore = (old: ServedModel | null): ModelMore => ({ strategy: old?.strategy ?? '', limits: limitDraft(old?.limits) });

/** Only what differs from what the model has. */
export function modelMoreBody(more: ModelMore, old: ServedModel | null): Partial<Pick<ServedModel, 'strategy' | 'limits'>> {
  const had = limitDraft(old?.limits);
  return { ...(more.strategy !== (old?.strategy ?? '') && { strategy: more.strategy }), ...(limitNames.some((n) => had[n] !== more.limits[n]) && { limits: limitsOf(more.limits) }) };
}

export function ModelAdvanced({ more, put, targets, putTarget }: { more: ModelMore; put: (more: ModelMore) => void; targets: readonly Target[]; putTarget: (i: number, change: { weight?: number; priority?: number }) => void }) {
  const words = useWords();
  const settings = useQuery(lists.settings);
  const providers = useQuery(lists.providers);
  const usual = String(settings.data?.find((s) => s.name === 'target_strategy')?.value ?? 'priority');
  const inForce = (more.strategy || usual) as Strategy;
  const of = (t: Target) => providers.data?.find((p) => p.name === t.provider);
  return (
    <Advanced isSet={more.strategy !== '' || limitNames.some((n) => more.limits[n] !== '')}>
      <Select label={words.strategy} value={more.strategy} onChange={(s) => put({ ...more, strategy: s ?? '' })} data={[{ value: '', label: `${usual} (target_strategy)` }, ...strategies.map((s) => ({ value: s as string, label: s }))]} description={words[`say_${inForce}`]} allowDeselect={false} />
      <Stack gap={6}>
        <Text size="sm" fw={500}>{words.targets} <Text span size="xs" c="dimmed">{words.targetFigures}</Text></Text>
        <SimpleGrid cols={3} spacing="xs" style={{ gridTemplateColumns: 'minmax(0, 1fr) 92px 92px', alignItems: 'center' }}>
          <span /><Text size="xs" c="dimmed">{words.weight}</Text><Text size="xs" c="dimmed">{words.priority}</Text>
          {targets.map((t, i) => (
            <Fragment key={i}>
              <Text size="xs" className="mono ell" title={`${t.provider}/${t.upstream_model}`}>{t.provider ? `${t.provider}/${t.upstream_model}` : '–'}</Text>
              <NumberInput size="xs" aria-label={`${words.weight} ${i + 1}`} value={t.weight && t.weight !== of(t)?.weight ? t.weight : ''} onChange={(v) => putTarget(i, { weight: typeof v === 'number' ? v : 0 })} placeholder={String(of(t)?.weight ?? 1)} min={0} max={1_000_000} allowDecimal={false} hideControls disabled={!t.provider} />
              <NumberInput size="xs" aria-label={`${words.priority} ${i + 1}`} value={t.priority && t.priority !== of(t)?.priority ? t.priority : ''} onChange={(v) => putTarget(i, { priority: typeof v === 'number' ? v : 0 })} placeholder={String(of(t)?.priority ?? 0)} min={-1_000_000} max={1_000_000} allowDecimal={false} hideControls disabled={!t.provider} />
            </Fragment>
          ))}
        </SimpleGrid>
      </Stack>
      <Stack gap={6}><Text size="sm" fw={500}>{words.limits}</Text><LimitFields d={more.limits} put={(limits) => put({ ...more, limits })} /></Stack>
    </Advanced>
  );
}
