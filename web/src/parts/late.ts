// What is not part of the first screen: it comes when it is needed, together with the styles that it may need.
import { type ComponentType, lazy, type LazyExoticComponent } from 'react';
import { untilThere } from '../api/reach';

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- props of any component
type Any = ComponentType<any>;

/** The server is there, and yet a part of the page did not come: an upgrade gave it another name, which only the page read anew knows. */
export class NotLoaded extends Error {}

/** Sheets that did not come: whoever asks for one again is told that it is there already. */
const sheetsAgain = () => Promise.all([...document.querySelectorAll<HTMLLinkElement>('link[rel=stylesheet]')].filter((l) => !l.sheet).map((l) => new Promise((done, fail) => {
  const again = l.cloneNode() as HTMLLinkElement;
  again.onload = done;
  again.onerror = fail;
  l.replaceWith(again);
})));

async function patiently<T>(load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch {
    await untilThere();
    try {
      await sheetsAgain();
      return await load();
    } catch (e) {
      throw new NotLoaded(String(e));
    }
  }
}

/** Asked for while the server is away it comes once the server is back. */
export const later = <C extends Any>(load: () => Promise<{ default: C }>): LazyExoticComponent<C> => lazy(() => patiently(load));

export const late = <C extends Any>(load: () => Promise<{ default: C }>): LazyExoticComponent<C> => later(async () => (await Promise.all([load(), import('../rest.css')]))[0]);
