// The request log as a page sees it: read backwards page by page, and forwards as requests end. What is held stays bounded:
// while the newest are looked at, only these are kept, and what comes while older ones are read waits at most a page long.
import { useEffect, useMemo, useSyncExternalStore } from 'react';
import { api, apiUrl, credentials, take } from './client';
import type { Filter, LoggedRequest } from './requests';
import { events } from './sse';

const firstPage = 200;
const nextPages = 1_000;
const kept = 1_000; // of the newest, while they are looked at
const flushMs = 300;
const retryMs = 2_000;

export interface LogState {
  rows: readonly LoggedRequest[];
  isLoading: boolean;
  error: Error | null;
  hasMore: boolean;
  waiting: number;
  lost: number;
  isLive: boolean;
}

const empty: LogState = { rows: [], isLoading: true, error: null, hasMore: false, waiting: 0, lost: 0, isLive: false };

class Log {
  private state = empty;
  private readonly listeners = new Set<() => void>();
  private next: number | null = null;
  private isAtTop = true;
  private raw: string[] = []; // events not yet read
  private waiting: LoggedRequest[] = [];
  private hasGap = false;
  private timer = 0;
  private control = new AbortController();
  private isBusy = false;

  constructor(private readonly filter: Filter, private readonly wantsLive: boolean) {}

  readonly subscribe = (listener: () => void) => {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  };
  readonly now = () => this.state;

  private set(change: Partial<LogState>) {
    this.state = { ...this.state, ...change };
    this.listeners.forEach((tell) => tell());
  }

  start() {
    this.control = new AbortController();
    void this.reload().then(() => { if (this.wantsLive) void this.follow(this.control.signal); });
    return () => {
      this.control.abort();
      clearTimeout(this.timer);
      this.timer = 0;
    };
  }

  private page(before: number | null) {
    return take(api.GET('/sluice/v1/requests', { signal: this.control.signal, params: { query: { ...this.filter, limit: before === null ? firstPage : nextPages, ...(before !== null && { before }) } } }));
  }

  readonly reload = async () => {
    this.raw = [];
    this.waiting = [];
    this.hasGap = false;
    this.set({ isLoading: true });
    try {
      const page = await this.page(null);
      this.next = page.next ?? null;
      this.set({ rows: page.data, isLoading: false, error: null, hasMore: this.next !== null, waiting: 0, lost: 0 });
    } catch (e) {
      if (!this.control.signal.aborted) this.set({ isLoading: false, error: e as Error });
    }
  };

  readonly older = async () => {
    if (this.isBusy || this.next === null) return;
    this.isBusy = true;
    try {
      const from = this.next;
      const page = await this.page(from);
      if (this.next !== from) return; // the list was begun anew meanwhile
      this.next = page.next ?? null;
      this.set({ rows: [...this.state.rows, ...page.data], hasMore: this.next !== null, error: null });
    } catch (e) {
      if (!this.control.signal.aborted) this.set({ error: e as Error });
    } finally {
      this.isBusy = false;
    }
  };

  readonly lookAtTop = (isAtTop: boolean) => {
    if (this.isAtTop === isAtTop) return;
    this.isAtTop = isAtTop;
    if (isAtTop) this.showWaiting();
  };

  readonly showWaiting = () => {
    if (this.hasGap) void this.reload();
    else if (this.waiting.length) {
      const fresh = this.waiting;
      this.waiting = [];
      this.put(fresh);
    }
  };

  /** Newest first, in front. What is trimmed behind can be read again from the store. */
  private put(fresh: LoggedRequest[]) {
    const top = this.state.rows[0]?.seq ?? 0;
    let rows = [...fresh.filter((r) => r.seq > top), ...this.state.rows];
    const hasMore = this.state.hasMore || rows.length > kept;
    if (rows.length > kept) {
      rows = rows.slice(0, kept);
      this.next = rows[rows.length - 1]?.seq ?? null;
    }
    this.set({ rows, hasMore, waiting: 0 });
  }

  private flush() {
    this.timer = 0;
    const texts = this.raw.splice(0);
    if (texts.length === 0) return;
    const fresh = texts.slice(-kept).map((t) => JSON.parse(t) as LoggedRequest).reverse();
    if (this.isAtTop) {
      if (texts.length > kept) void this.reload();
      else this.put(fresh);
      return;
    }
    this.waiting = [...fresh, ...this.waiting];
    if (this.waiting.length > kept || texts.length > kept) {
      this.waiting = this.waiting.slice(0, kept);
      this.hasGap = true;
    }
    this.set({ waiting: this.state.waiting + texts.length });
  }

  private async follow(signal: AbortSignal) {
    let last = String(this.state.rows[0]?.seq ?? '');
    while (!signal.aborted) {
      try {
        const query = new URLSearchParams(Object.entries(this.filter).map(([k, v]) => [k, String(v)]));
        const answer = await fetch(new URL(`sluice/v1/requests/tail?${query}`, apiUrl), {
          signal, credentials: 'same-origin', headers: { accept: 'text/event-stream', ...credentials(), ...(last && { 'last-event-id': last }) },
        });
        if (!answer.ok || !answer.body) throw new Error(`HTTP ${answer.status}`);
        this.set({ isLive: true });
        if (!last) await this.reload(); // what came between the first page and now
        for await (const e of events(answer.body)) {
          if (signal.aborted) return;
          if (e.event === 'lost') {
            this.set({ lost: this.state.lost + Number((JSON.parse(e.data) as { count: number }).count) });
            continue;
          }
          if (e.event !== 'request') continue;
          last = e.id || last;
          this.raw.push(e.data);
          if (this.raw.length > kept * 4) this.raw.splice(0, kept);
          this.timer ||= window.setTimeout(() => this.flush(), flushMs);
        }
      } catch {
        // it is tried again
      }
      if (signal.aborted) return;
      this.set({ isLive: false });
      await new Promise((done) => setTimeout(done, retryMs));
    }
  }
}

export function useLog(filter: Filter, wantsLive: boolean) {
  const name = JSON.stringify(filter);
  // eslint-disable-next-line -- the filter's text stands for it
  const log = useMemo(() => new Log(JSON.parse(name) as Filter, wantsLive), [name, wantsLive]);
  useEffect(() => log.start(), [log]);
  return { ...useSyncExternalStore(log.subscribe, log.now), older: log.older, reload: log.reload, lookAtTop: log.lookAtTop, showWaiting: log.showWaiting };
}
