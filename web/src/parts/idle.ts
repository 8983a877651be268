// What can wait until the page has nothing better to do.
/** Returns how to give it up. */
export function requestIdle(run: () => void): () => void {
  if (!('requestIdleCallback' in window)) {
    const timer = setTimeout(run, 100);
    return () => clearTimeout(timer);
  }
  const asked = requestIdleCallback(run, { timeout: 1_000 });
  return () => cancelIdleCallback(asked);
}
