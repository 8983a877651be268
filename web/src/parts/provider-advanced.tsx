// What few providers need: another format than their kind's first, their place among others, quirks, and how much they may be used.
import { Group, NumberInput, Select, SimpleGrid, Stack, TagsInput, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import type { Provider, ProviderKind } from '../api/client';
import { lists } from '../api/lists';
import { useWords } from '../i18n';
import { Advanced } from './advanced';
import { type LimitDraft, LimitFields, limitDraft, limitNames, limitsOf } from './limit-fields';

export interface ProviderMore { wire: string; priority: number | string; weight: number | string; with: string[]; without: string[]; limits: LimitDraft }

const quirksOf = (p: Provider | null, is: boolean) => Object.entries((p?.quirks ?? {}) as Record<string, boolean>).filter(([, v]) => v === is).map(([k]) => k).sort();
/** The format that it was told to speak; '': its kind's own. */
const wireOf = (p: Provider | null, kind: ProviderKind | undefined) => (p && kind && p.wires[0] !== undefined && p.wires[0] !== kind.wires[0] ? p.wires[0] : '');

export const providerMore = (old: Provider | null, kind: ProviderKind | undefined): ProviderMore => ({
  wire: wireOf(old, kind), priority: old?.priority ?? 0, weight: old?.weight ?? 1, with: quirksOf(old, true), without: quirksOf(old, false), limits: limitDraft(old?.limits),
});

/** Only what differs from what the provider has. */
export function providerMoreBody(more: ProviderMore, old: Provider | null, kind: ProviderKind | undefined) {
  const was = providerMore(old, kind);
  const isOther = (a: unknown, b: unknown) => JSON.stringify(a) !== JSON.stringify(b);
  const quirks = Object.fromEntries([...more.with.map((q) => [q, true]), ...more.without.map((q) => [q, false])]) as Record<string, boolean>;
  return {
    ...(more.wire !== was.wire && { wire: more.wire }), ...(more.priority !== was.priority && { priority: Number(more.priority) || 0 }), ...(more.weight !== was.weight && { weight: Number(more.weight) || 1 }),
    ...((isOther(more.with.toSorted(), was.with) || isOther(more.without.toSorted(), was.without)) && { quirks }),
    ...(limitNames.some((n) => more.limits[n] !== was.limits[n]) && { limits: limitsOf(more.limits) }),
  };
}

export function ProviderAdvanced({ old, kind, more, put }: { old: Provider | null; kind: ProviderKind | undefined; more: ProviderMore; put: (more: ProviderMore) => void }) {
  const words = useWords();
  const kinds = useQuery(lists.kinds);
  const known = [...new Set([...(kinds.data ?? []).flatMap((k) => k.quirks), ...(old?.quirks_in_force ?? []), ...more.with, ...more.without])].sort();
  const wires = [...new Set([...(kinds.data ?? []).flatMap((k) => k.wires), ...(old?.wires ?? [])])].sort();
  const isSet = more.wire !== '' || more.with.length + more.without.length > 0 || Number(more.priority) !== 0 || Number(more.weight) !== 1 || limitNames.some((n) => more.limits[n] !== '');
  return (
    <Advanced isSet={isSet}>
      <Select label={words.wireSpoken} description={words.wireHint} value={more.wire} onChange={(w) => put({ ...more, wire: w ?? '' })} data={[{ value: '', label: `${words.asItsKind}${kind?.wires.length ? ` (${kind.wires.join(', ')})` : ''}` }, ...wires.map((w) => ({ value: w as string, label: w }))]} allowDeselect={false} />
      <SimpleGrid cols={2} spacing="xs">
        <NumberInput label={words.weight} description={words.weightHint} value={more.weight} onChange={(weight) => put({ ...more, weight })} min={1} max={1_000_000} allowDecimal={false} hideControls />
        <NumberInput label={words.priority} description={words.lowerFirst} value={more.priority} onChange={(priority) => put({ ...more, priority })} min={-1_000_000} max={1_000_000} allowDecimal={false} hideControls />
      </SimpleGrid>
      <Stack gap={6}>
        <Text size="sm" fw={500}>{words.quirks} <Text span size="xs" c="dimmed">{words.quirksHint}</Text></Text>
        <TagsInput size="xs" label={words.quirksHere} value={more.with} onChange={(v) => put({ ...more, with: v, without: more.without.filter((q) => !v.includes(q)) })} data={known} classNames={{ pill: 'mono' }} />
        <TagsInput size="xs" label={words.quirksNot} value={more.without} onChange={(v) => put({ ...more, without: v, with: more.with.filter((q) => !v.includes(q)) })} data={known} classNames={{ pill: 'mono' }} />
        {old && old.quirks_in_force.length > 0 && <Group gap="4px 0"><Text size="xs" c="dimmed" mr={6}>{words.inForceNow}</Text>{old.quirks_in_force.map((q) => <span key={q} className="tag mono">{q}</span>)}</Group>}
      </Stack>
      <Stack gap={6}><Text size="sm" fw={500}>{words.limits}</Text><LimitFields d={more.limits} put={(limits) => put({ ...more, limits })} /></Stack>
    </Advanced>
  );
}
