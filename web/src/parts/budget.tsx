// The budgets that bind somebody, with how much of each is spent. Shows nothing where there is none.
export function BudgetOf(_: { kind: 'org' | 'user' | 'key'; id: string }) {
  return null;
}
