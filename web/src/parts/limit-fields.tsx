// Limits, as whoever has them has them: keys, organisations, users, models, providers.
import { NumberInput, SimpleGrid } from '@mantine/core';
import { type Language, useWords } from '../i18n';
import type { Words } from '../i18n/en';
import { short } from './format';

export const limitNames = ['requests_per_minute', 'requests_per_hour', 'requests_per_day', 'tokens_per_minute', 'tokens_per_day', 'concurrency', 'sessions'] as const;
export type LimitName = (typeof limitNames)[number];
export type Limits = Partial<Record<LimitName, number>>;
export type LimitDraft = Record<string, number | string>;

export const limitDraft = (has: Limits | undefined): LimitDraft => Object.fromEntries(limitNames.map((n) => [n, has?.[n] || '']));

/** All of them: what is empty is not limited. */
export const limitsOf = (d: LimitDraft): Required<Limits> => Object.fromEntries(limitNames.map((n) => [n, typeof d[n] === 'number' ? d[n] : 0])) as Required<Limits>;

export const limitsText = (has: Limits | undefined, words: Words, language: Language): string =>
  limitNames.filter((n) => (has?.[n] ?? 0) > 0).map((n) => `${short(has?.[n], language)} ${words[`short_${n}`]}`).join(', ');

export function LimitFields({ d, put, isFixed = false }: { d: LimitDraft; put: (d: LimitDraft) => void; isFixed?: boolean }) {
  const words = useWords();
  return (
    <SimpleGrid cols={{ base: 2, xs: 3 }} spacing="xs" style={{ alignItems: 'end' }}>
      {limitNames.map((n) => <NumberInput key={n} size="xs" label={words[`limit_${n}`]} value={d[n] ?? ''} onChange={(v) => put({ ...d, [n]: v })} min={0} placeholder={words.none} thousandSeparator="," allowDecimal={false} hideControls disabled={isFixed} />)}
    </SimpleGrid>
  );
}
