// A list that is put in order by hand: by dragging a row at its handle, or with the arrow keys while the handle has the focus.
import { IconGripVertical } from '@tabler/icons-react';
import { type KeyboardEvent, type PointerEvent, type ReactNode, useEffect, useRef, useState } from 'react';
import { useWords } from '../i18n';

interface Props<T> {
  label: string;
  items: readonly T[];
  keyOf: (item: T) => string | number;
  nameOf: (item: T) => string;
  onMove: (from: number, to: number) => void;
  children: (item: T, i: number) => ReactNode;
  isFixed?: boolean;
}

/** The list with one item at another place. */
export function moved<T>(items: readonly T[], from: number, to: number): T[] {
  const next = [...items];
  const [item] = next.splice(from, 1);
  if (item !== undefined) next.splice(to, 0, item);
  return next;
}

export function Sortable<T>({ label, items, keyOf, nameOf, onMove, children, isFixed = false }: Props<T>) {
  const words = useWords();
  const list = useRef<HTMLOListElement>(null);
  const [dragged, setDragged] = useState<string | number | null>(null);
  const [said, setSaid] = useState('');
  const latest = useRef({ items, keyOf, onMove });
  latest.current = { items, keyOf, onMove };
  const focused = useRef<string | number | null>(null);
  useEffect(() => { // a row that React moves loses the focus
    if (focused.current === null) return;
    const i = items.findIndex((x) => keyOf(x) === focused.current);
    list.current?.children[i]?.querySelector<HTMLElement>('.sort-handle')?.focus();
    focused.current = null;
  }, [items, keyOf]);
  useEffect(() => {
    if (dragged === null) return;
    const onPointerMove = (event: globalThis.PointerEvent) => {
      const { items: all, keyOf: key, onMove: move } = latest.current;
      const from = all.findIndex((x) => key(x) === dragged);
      const rows = [...(list.current?.children ?? [])].map((row) => row.getBoundingClientRect());
      const to = rows.findIndex((r, i) => i !== from && event.clientY > r.top && event.clientY < r.bottom && (i > from ? event.clientY > r.top + r.height / 2 : event.clientY < r.top + r.height / 2));
      if (from >= 0 && to >= 0) move(from, to);
    };
    const end = () => setDragged(null);
    addEventListener('pointermove', onPointerMove);
    addEventListener('pointerup', end);
    addEventListener('pointercancel', end);
    return () => { removeEventListener('pointermove', onPointerMove); removeEventListener('pointerup', end); removeEventListener('pointercancel', end); };
  }, [dragged]);
  function onPointerDown(event: PointerEvent, item: T) {
    if (event.button !== 0) return;
    event.preventDefault(); // no text is selected meanwhile
    (event.currentTarget as HTMLElement).focus();
    setDragged(keyOf(item));
  }
  function onKeyDown(event: KeyboardEvent, i: number, item: T) {
    const to = { ArrowUp: i - 1, ArrowDown: i + 1, Home: 0, End: items.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    if (to < 0 || to >= items.length || to === i) return;
    focused.current = keyOf(item);
    onMove(i, to);
    setSaid(`${nameOf(item)}: ${to + 1} / ${items.length}`);
  }
  return (
    <>
      <ol ref={list} className="sort" aria-label={label} data-dragging={dragged !== null || undefined}>
        {items.map((item, i) => (
          <li key={keyOf(item)} className="sort-row" data-dragged={dragged === keyOf(item) || undefined}>
            <button type="button" className="sort-handle" disabled={isFixed || items.length < 2} aria-label={`${words.moveIt} ${nameOf(item)}`} title={words.moveHint} onPointerDown={(e) => onPointerDown(e, item)} onKeyDown={(e) => onKeyDown(e, i, item)}><IconGripVertical size={16} aria-hidden /></button>
            <span className="sort-no num" aria-hidden>{i + 1}</span>
            {children(item, i)}
          </li>
        ))}
      </ol>
      <span className="hide" role="status">{said}</span>
    </>
  );
}
