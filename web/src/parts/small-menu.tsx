// A button of the frame with a short list of choices above it: light enough for the first screen.
import { type KeyboardEvent, type ReactNode, useEffect, useRef, useState } from 'react';

export function SmallMenu({ label, icon, choices }: { label: string; icon: ReactNode; choices: { name: string; run: () => void }[] }) {
  const [isOpen, setOpen] = useState(false);
  const box = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const items = () => [...(box.current?.querySelectorAll<HTMLButtonElement>('[role=menuitem]') ?? [])];
  useEffect(() => {
    if (!isOpen) return;
    items()[0]?.focus();
    const away = (e: PointerEvent) => { if (!box.current?.contains(e.target as Node)) setOpen(false); };
    addEventListener('pointerdown', away);
    return () => removeEventListener('pointerdown', away);
  }, [isOpen]);

  function close() {
    setOpen(false);
    button.current?.focus();
  }
  function onKeyDown(e: KeyboardEvent) {
    const all = items();
    const at = all.indexOf(document.activeElement as HTMLButtonElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1 + all.length, Home: 0, End: all.length - 1 }[e.key];
    if (e.key === 'Escape') close();
    else if (e.key === 'Tab') setOpen(false);
    else if (to !== undefined) all[to % all.length]?.focus();
    if (e.key === 'Escape' || to !== undefined) e.preventDefault();
  }
  return (
    <div className="small-menu" ref={box}>
      <button type="button" className="icon-button" ref={button} onClick={() => setOpen(!isOpen)} aria-label={label} title={label} aria-haspopup="menu" aria-expanded={isOpen}>{icon}</button>
      {isOpen && (
        <div role="menu" aria-label={label} className="small-menu-list" onKeyDown={onKeyDown}>
          {choices.map((c) => <button key={c.name} type="button" role="menuitem" tabIndex={-1} onClick={() => { close(); c.run(); }}>{c.name}</button>)}
        </div>
      )}
    </div>
  );
}
