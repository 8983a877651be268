// A table of a few columns. Where there is no room for them, each row is a list of them with their names, and nothing is to be pushed aside.
import { Paper, Table } from '@mantine/core';
import { useElementSize } from '@mantine/hooks';
import type { CSSProperties, ReactNode } from 'react';

/** A column that is looked at from the right, such as of figures. */
export interface Right { right: string }

/** `from`: how wide it has to be for columns, in pixels. */
export function Grid({ head, from = 600, bare = false, children }: { head: (string | Right)[]; from?: number; bare?: boolean; children: ReactNode }) {
  const { ref, width } = useElementSize<HTMLDivElement>();
  const names = head.map((h) => (typeof h === 'string' ? h : h.right));
  const table = (
    <div className="grid-box" tabIndex={0} ref={ref}>
      <Table verticalSpacing={7} fz="sm" className="grid" mod={{ list: width > 0 && width < from }} style={Object.fromEntries(names.map((n, i) => [`--head-${i + 1}`, JSON.stringify(n)])) as CSSProperties}>
        <Table.Thead><Table.Tr>{head.map((h, i) => <Table.Th key={names[i] || i} ta={typeof h === 'string' ? undefined : 'right'}>{names[i]}</Table.Th>)}</Table.Tr></Table.Thead>
        <Table.Tbody>{children}</Table.Tbody>
      </Table>
    </div>
  );
  return bare ? table : <Paper withBorder>{table}</Paper>;
}
