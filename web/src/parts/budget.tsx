// The budgets that bind somebody, with how much of each is spent. Shows nothing where there is none.
import { Group, Stack, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { type Budget, lists } from '../api/lists';
import { useWords } from '../i18n';
import { money, moneyLike, said } from './format';

export function Meter({ b }: { b: Budget }) {
  const used = (b.spent_nanousd ?? 0) + (b.held_nanousd ?? 0);
  const limit = b.limit_nanousd ?? 0;
  const share = limit > 0 ? Math.min(1, used / limit) : 1;
  const color = share >= 1 ? 'var(--bad)' : b.is_warning ? 'var(--warn)' : 'var(--fine)';
  return (
    <div className="meter" role="meter" aria-label={b.name} aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.round(share * 100)}>
      <span style={{ width: `${share * 100}%`, background: color }} />
    </div>
  );
}

const shareOf = (b: Budget) => (b.limit_nanousd > 0 ? (b.spent_nanousd + b.held_nanousd) / b.limit_nanousd : 1);

/** In a list: of the budgets that bind somebody the one that is nearest to its end. */
export function BudgetCell({ kind, id }: { kind: 'org' | 'user' | 'key'; id: string }) {
  const words = useWords();
  const budgets = useQuery(lists.budgets);
  const mine = (budgets.data ?? []).filter((b) => b.scope === kind && b.subject === id && b.enabled).sort((a, b) => shareOf(b) - shareOf(a));
  const [b] = mine;
  if (!b) return <span className="dim">–</span>;
  const dollars = moneyLike([b.limit_nanousd]);
  return (
    <span className="budget-cell" title={mine.map((x) => `${x.name}: ${money(x.spent_nanousd)} ${words.ofBudget} ${money(x.limit_nanousd)}, ${said(words, 'period', x.period)}`).join('\n')}>
      <span className="num ell" style={shareOf(b) >= 1 ? { color: 'var(--bad-text)' } : b.is_warning ? { color: 'var(--warn-text)' } : undefined}>{dollars(b.spent_nanousd)} / {dollars(b.limit_nanousd)}{mine.length > 1 && <span className="dim"> +{mine.length - 1}</span>}</span>
      <Meter b={b} />
    </span>
  );
}

export function BudgetOf({ kind, id }: { kind: 'org' | 'user' | 'key'; id: string }) {
  const words = useWords();
  const budgets = useQuery(lists.budgets);
  const mine = (budgets.data ?? []).filter((b) => b.scope === kind && b.subject === id && b.enabled);
  if (mine.length === 0) return null;
  return (
    <Stack gap="sm">
      {mine.map((b) => (
        <div key={b.name}>
          <Group justify="space-between" mb={4}><Text size="sm" fw={550}>{b.name}</Text><Text size="sm" c="dimmed" className="num">{money(b.spent_nanousd)} / {money(b.limit_nanousd)} · {said(words, 'period', b.period)}</Text></Group>
          <Meter b={b} />
          {(b.held_nanousd ?? 0) > 0 && <Text size="xs" c="dimmed" mt={2}>{words.held} {money(b.held_nanousd)}</Text>}
        </div>
      ))}
    </Stack>
  );
}
