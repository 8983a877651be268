// Spent today, beside the day's budget for everything where there is one.
import { useQuery } from '@tanstack/react-query';
import { lists, spentToday } from '../api/lists';
import { useWords } from '../i18n';
import { Meter } from './budget';
import { money, said } from './format';

export function Spend() {
  const words = useWords();
  const today = useQuery(spentToday);
  const budgets = useQuery(lists.budgets);
  const all = budgets.data?.find((b) => b.scope === 'all' && b.enabled && b.period === 'day') ?? budgets.data?.find((b) => b.scope === 'all' && b.enabled);
  if (!today.data) return null;
  return (
    <div className="tile">
      <div className="tile-name">{words.spentToday}</div>
      <div className="tile-value">{money(today.data.total_nanousd)}</div>
      {all ? <><div className="tile-note">{money(all.spent_nanousd)} {words.ofBudget} {money(all.limit_nanousd)} · {said(words, 'period', all.period)}</div><Meter b={all} /></>
        : <div className="tile-note">{(today.data.unpriced ?? 0) > 0 ? `${today.data.unpriced} × ${words.unknownPrice}` : ' '}</div>}
    </div>
  );
}
