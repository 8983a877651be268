// Where the focus goes when what was opened above a page is closed: back to what opened it, or else to what had it last in the page itself.
import { type RefObject, useEffect, useLayoutEffect, useRef } from 'react';

const above = '[role=dialog], [role=menu], [role=listbox]';
let last: HTMLElement | null = null; // in the page itself
document.addEventListener('focusin', (e) => { if (e.target instanceof HTMLElement && !e.target.closest(above)) last = e.target; });

const isThere = (e: HTMLElement | null): e is HTMLElement => e !== null && e !== document.body && e.isConnected && e.getClientRects().length > 0;

/** Unless something else has it by now. */
export function giveFocusBack(to: HTMLElement | null): void {
  const now = document.activeElement;
  if (now !== null && now !== document.body) return;
  const found = [to, last].find(isThere);
  found?.focus();
}

/** For what is drawn only while it is open: the library notes who had the focus only of what was closed before. */
export function useFocusBack(isOpen: boolean): void {
  const opener = useRef<HTMLElement | null>(null);
  if (isOpen) opener.current ??= document.activeElement instanceof HTMLElement ? document.activeElement : null; // before it moves
  useEffect(() => {
    if (!isOpen) return undefined;
    return () => {
      const to = opener.current;
      opener.current = null;
      setTimeout(() => giveFocusBack(to));
    };
  }, [isOpen]);
}

/** Escape closes it, wherever the focus is: a library that listens on what it opened is deaf until the focus has moved there, and again when what had it is drawn anew. From the moment it is seen. */
export function useEscape(onClose: () => void): void {
  useLayoutEffect(() => {
    const hear = (e: KeyboardEvent) => { if (e.key === 'Escape' && !e.isComposing) onClose(); };
    window.addEventListener('keydown', hear, { capture: true });
    return () => window.removeEventListener('keydown', hear, { capture: true });
  }, [onClose]);
}

/** For what is open beside a page that stays as it is: Escape closes it, unless that is for a list that is open in it, and so does what opens above the page. The focus goes back to what opened it. */
export function useBeside(isOpen: boolean, onClose: () => void, opener: RefObject<HTMLElement | null>): void {
  useLayoutEffect(() => {
    if (!isOpen) return undefined;
    const hear = (e: KeyboardEvent) => {
      const isEscape = e.key === 'Escape' && !e.isComposing && document.activeElement?.getAttribute('aria-expanded') !== 'true';
      if (!isEscape && !(e.key.toLowerCase() === 'k' && (e.ctrlKey || e.metaKey))) return;
      opener.current?.focus();
      onClose();
    };
    window.addEventListener('keydown', hear, { capture: true });
    return () => window.removeEventListener('keydown', hear, { capture: true });
  }, [isOpen, onClose, opener]);
}
