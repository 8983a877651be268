// What is not part of the first screen: it comes when it is needed, together with the styles that it may need.
import { type ComponentType, lazy, type LazyExoticComponent } from 'react';

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- props of any component
export function late<C extends ComponentType<any>>(load: () => Promise<{ default: C }>): LazyExoticComponent<C> {
  return lazy(async () => (await Promise.all([load(), import('../rest.css')]))[0]);
}
