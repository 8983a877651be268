// Whether the server takes us, and what is asked at once where it most likely does: while the page is still being put together.
import { type QueryClient, queryOptions } from '@tanstack/react-query';
import { ApiError, api, hasKey, take } from './client';
import { lists, spentToday } from './lists';
import { problems } from './problems';
import { latest, latestFailures } from './requests';
import { hasSession, noteSession } from './session';

export const entry = queryOptions({
  queryKey: ['entry'], retry: false, staleTime: Infinity,
  queryFn: async () => {
    try {
      const who = await take(api.GET('/sluice/v1/session'));
      if (!hasKey()) noteSession(true);
      return { isIn: true, who };
    } catch (e) {
      if (!(e instanceof ApiError && (e.status === 401 || e.status === 403))) throw e;
      noteSession(false);
      return { isIn: false, who: null };
    }
  },
});

/** What the first screen shows. */
const first = [lists.info, lists.series, problems, latest(1), latestFailures, lists.active, lists.budgets, spentToday, lists.versions];

/** Asks at once; resolves when all is there, or when it takes so long that a page without figures is better than none. */
export async function begin(queries: QueryClient, isFirstScreen: boolean): Promise<void> {
  if (!hasSession()) return;
  const asked: Promise<unknown>[] = [queries.prefetchQuery(entry)];
  if (isFirstScreen) for (const q of first) asked.push(queries.prefetchQuery(q as typeof lists.info));
  await Promise.race([Promise.all(asked), new Promise((done) => { setTimeout(done, 250); })]);
}
