// A long list of which only the rows in sight are drawn. Columns give way as it gets narrower; a row opens with Enter, and
// the arrow keys go from row to row.
import { IconChevronDown, IconChevronUp } from '@tabler/icons-react';
import { useElementSize, useMergedRef } from '@mantine/hooks';
import { useVirtualizer } from '@tanstack/react-virtual';
import { type CSSProperties, type KeyboardEvent, type ReactNode, type RefObject, useEffect, useRef } from 'react';

export interface Column<T> {
  id: string;
  head: ReactNode;
  /** a track of a CSS grid */
  width: string;
  right?: boolean;
  /** shown from this width of the list on, in pixels */
  from?: number;
  sortable?: boolean;
  cell: (row: T) => ReactNode;
  /** all of what may be cut off */
  hint?: (row: T) => string;
}
export interface Sort { by: string; down: boolean }

interface Props<T> {
  label: string;
  rows: readonly T[];
  columns: Column<T>[];
  rowKey: (row: T) => string | number;
  rowHeight?: number;
  height: CSSProperties['height'];
  onOpen?: (row: T) => void;
  isPicked?: (row: T) => boolean;
  sort?: Sort;
  onSort?: (by: string) => void;
  /** the end comes into sight */
  onEnd?: () => void;
  /** how far it is scrolled down, in pixels */
  onScroll?: (top: number) => void;
  foot?: ReactNode;
  scroller?: RefObject<HTMLDivElement | null>;
}

export function VTable<T>({ label, rows, columns, rowKey, rowHeight = 38, height, onOpen, isPicked, sort, onSort, onEnd, onScroll, foot, scroller }: Props<T>) {
  const own = useRef<HTMLDivElement>(null);
  const box = scroller ?? own;
  const { ref: sized, width } = useElementSize<HTMLDivElement>();
  const merged = useMergedRef(box, sized);
  const shown = columns.filter((c) => !c.from || width === 0 || width >= c.from);
  const tracks = shown.map((c) => c.width).join(' ');
  const virtual = useVirtualizer({ count: rows.length, getScrollElement: () => box.current, estimateSize: () => rowHeight, overscan: 12, getItemKey: (i) => { const r = rows[i]; return r === undefined ? i : rowKey(r); } });
  const items = virtual.getVirtualItems();
  const last = items.at(-1)?.index ?? -1;
  useEffect(() => { if (onEnd && rows.length > 0 && last >= rows.length - 30) onEnd(); }, [last, rows.length, onEnd]);

  function onKeyDown(event: KeyboardEvent<HTMLDivElement>, i: number, row: T) {
    if (event.target !== event.currentTarget) return;
    const to = event.key === 'ArrowDown' ? i + 1 : event.key === 'ArrowUp' ? i - 1 : event.key === 'Home' ? 0 : event.key === 'End' ? rows.length - 1 : -1;
    if (event.key === 'Enter' && onOpen) onOpen(row);
    else if (to >= 0 && to < rows.length) {
      virtual.scrollToIndex(to);
      requestAnimationFrame(() => box.current?.querySelector<HTMLElement>(`[data-index="${to}"]`)?.focus());
    } else return;
    event.preventDefault();
  }
  return (
    <div ref={merged} className="vt" style={{ height, maxHeight: 34 + rows.length * rowHeight + (foot ? 48 : 2) }} role="table" aria-label={label} aria-rowcount={rows.length + 1} tabIndex={0}
      onScroll={(e) => onScroll?.(e.currentTarget.scrollTop)}>
      <div role="rowgroup">
        <div role="row" className="vt-head" style={{ gridTemplateColumns: tracks }}>
          {shown.map((c) => (
            <div key={c.id} role="columnheader" className="vt-cell" data-right={c.right || undefined} aria-sort={sort?.by === c.id ? (sort.down ? 'descending' : 'ascending') : undefined}>
              {c.sortable && onSort
                ? <button type="button" className="vt-sort" onClick={() => onSort(c.id)}>{c.head}{sort?.by === c.id && (sort.down ? <IconChevronDown size={13} /> : <IconChevronUp size={13} />)}</button>
                : c.head}
            </div>
          ))}
        </div>
      </div>
      <div role="rowgroup" style={{ height: virtual.getTotalSize(), position: 'relative' }}>
        {items.map((item) => {
          const row = rows[item.index];
          if (row === undefined) return null;
          return (
            <div key={item.key} role="row" aria-rowindex={item.index + 2} data-index={item.index} className="vt-row" data-open={onOpen ? true : undefined} aria-selected={isPicked ? isPicked(row) : undefined}
              style={{ gridTemplateColumns: tracks, height: rowHeight, transform: `translateY(${item.start}px)` }} tabIndex={onOpen ? 0 : undefined}
              onClick={onOpen && (() => onOpen(row))} onKeyDown={(e) => onKeyDown(e, item.index, row)}>
              {shown.map((c) => <div key={c.id} role="cell" dir="auto" className="vt-cell" data-right={c.right || undefined} title={c.hint?.(row) || undefined}>{c.cell(row)}</div>)}
            </div>
          );
        })}
      </div>
      {foot}
    </div>
  );
}
