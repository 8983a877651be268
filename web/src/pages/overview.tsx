// What is wrong first, then what happens.
import { Skeleton } from '@mantine/core';
import { IconAlertTriangle, IconCircleCheck, IconHistory, IconRocket } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { Suspense, useEffect, useMemo, useState } from 'react';
import { Link, useLocation, useSearchParams } from 'wouter';
import { lists, seriesOf } from '../api/lists';
import { byObject, problems, told } from '../api/problems';
import { latest, latestFailures } from '../api/requests';
import { useSpeech, useWords } from '../i18n';
import { Choice } from '../parts/choice';
import { actorWords, changedWords, count, counted, money, moneyLike, short, span } from '../parts/format';
import { requestIdle } from '../parts/idle';
import { InFlight } from '../parts/in-flight';
import { later } from '../parts/late';
import { Empty, Failure, Loaded, Page, When } from '../parts/pieces';
import { Spend } from '../parts/spend';
import type { Dim, PastSpan, Shown } from './overview-past';

// What draws, and what only shows when something failed, comes after the figures.
const Chart = later(() => import('../parts/chart'));
const RequestList = later(() => import('../parts/request-list'));
const Past = later(() => import('./overview-past'));

export default function Overview() {
  const words = useWords();
  const [, go] = useLocation();
  const info = useQuery(lists.info);
  const isNew = useQuery(latest(1)).data?.length === 0;
  const failures = useQuery(latestFailures);
  return (
    <Page title={words.dashboard} calls={[{ method: 'GET', path: '/sluice/v1/info' }, { method: 'GET', path: '/sluice/v1/problems?sort=severity' }, { method: 'GET', path: '/sluice/v1/metrics/series?seconds=300' },
      { method: 'GET', path: '/sluice/v1/requests/active' }, { method: 'GET', path: '/sluice/v1/requests?status=error&limit=8' }]}
      note={info.data ? `${words.version} ${info.data.version} · ${words.uptime} ${span(info.data.uptime_seconds * 1e6)}` : undefined}>
      <Problems />
      {isNew && <Newcomer />}
      <Tiles />
      <Figures />
      <InFlight />
      <div className="pair">
        <section className="card" aria-label={words.lastErrors}>
          <Head title={words.lastErrors} to="/requests?status=error" />
          <Loaded query={failures}>
            {(bad) => (bad.length === 0 ? <p className="card-text">{words.noErrors}</p>
              : <Suspense fallback={<Skeleton height={340} />}><RequestList rows={bad} height="340px" onOpen={(r) => go(`/requests/${encodeURIComponent(r.id)}`)} /></Suspense>)}
          </Loaded>
        </section>
        <Changes />
      </div>
    </Page>
  );
}

function Head({ title, to }: { title: string; to?: string }) {
  const words = useWords();
  return <div className="card-head"><b>{title}</b>{to && <Link href={to} className="quiet">{words.showAll}</Link>}</div>;
}

function Newcomer() {
  const words = useWords();
  return <div className="card"><Empty icon={<IconRocket size={36} />} title={words.noRequests} hint={words.startHint} action={<Link href="/start" className="button" data-is="main">{words.start}</Link>} /></div>;
}

const few = 6;

function Problems() {
  const words = useWords();
  const [isWhole, setWhole] = useState(false);
  const found = useQuery(problems);
  if (found.error && !found.data) return <Failure error={found.error} retry={() => void found.refetch()} />;
  if (!found.data) return null;
  const all = byObject(found.data.data);
  return (
    <section className="card" aria-label={words.brokenNow} aria-live="polite">
      {all.length === 0
        ? <div className="problem"><IconCircleCheck size={19} color="var(--fine)" aria-hidden /><b>{words.nothingBroken}</b><span className="dim">{words.allWell}</span></div>
        : (isWhole ? all : all.slice(0, few)).map((its) => {
          const [first, ...others] = its.map((p) => ({ p, ...told(p, words) }));
          if (!first) return null;
          return (
            <div key={first.p.id} className="problem">
              <IconAlertTriangle size={18} color={first.p.severity === 'error' ? 'var(--bad)' : 'var(--warn)'} aria-hidden />
              <div className="problem-text"><b>{[first.of, first.what].filter(Boolean).join(': ')}</b> <span className="dim">{[first.text, ...others.map((o) => [o.of === first.of ? '' : o.of.slice(first.of.length).replace(/^ · /, ''), o.what, o.text && `(${o.text})`].filter(Boolean).join(' '))].filter(Boolean).join(' · ')}</span></div>
              <Link href={first.to} className="button" data-small>{words[first.action]}</Link>
            </div>
          );
        })}
      {all.length > few && !isWhole && <div className="problem"><button type="button" className="quiet" onClick={() => setWhole(true)}>{words.showAll} ({all.length}{found.data.has_more && '+'})</button></div>}
    </section>
  );
}

function Tile({ name, value, note, to, is }: { name: string; value: string; note?: string | undefined; to?: string; is?: 'bad' }) {
  const inner = <><div className="tile-name">{name}</div><div className="tile-value" style={is && { color: 'var(--bad)' }}>{value}</div>{note && <div className="tile-note">{note}</div>}</>;
  return to ? <Link href={to} className="tile tile-link">{inner}</Link> : <div className="tile">{inner}</div>;
}

function Tiles() {
  const words = useWords();
  const { language } = useSpeech();
  const series = useQuery(lists.series);
  const info = useQuery(lists.info);
  const sum = useMemo(() => {
    const s = { minute: 0, requests: 0, errors: 0, out: 0, ttft: 0, answered: 0, busy: 0 };
    for (const p of series.data?.series ?? []) {
      s.requests += p.requests + p.refused;
      s.errors += p.errors + p.refused;
      s.out += p.tokens_out;
      if (p.t > -60) s.minute += p.requests + p.refused;
      if (p.ttft_ms > 0) { s.ttft += p.ttft_ms * p.requests; s.answered += p.requests; }
      s.busy += (p.avg_ms * p.requests) / 1000;
    }
    return s;
  }, [series.data]);
  return (
    <section className="card tiles" aria-label={words.now}>
      <Tile name={words.inFlight} value={series.data ? count(series.data.in_flight, language) : '–'} note={series.data ? counted(series.data.active_streams, words.stream, words.streamsNow, language) : undefined} to="/requests" />
      <Tile name={words.requestsAMinute} value={count(sum.minute, language)} note={`${short(sum.requests, language)} ${words.inFiveMinutes}`} />
      <Tile name={words.errorRate} value={sum.requests ? `${((100 * sum.errors) / sum.requests).toFixed(sum.errors ? 1 : 0)} %` : '–'} note={`${count(sum.errors, language)} ${words.inFiveMinutes}`} to="/requests?status=error" {...(sum.errors > 0 && sum.errors / sum.requests > 0.05 && { is: 'bad' as const })} />
      <Tile name={words.ttft} value={sum.answered ? span(Math.round((sum.ttft / sum.answered) * 1000)) : '–'} note={words.mean} />
      <Tile name={words.tokensASecond} value={sum.busy > 0 && sum.out > 0 ? short(Math.round(sum.out / sum.busy), language) : '–'} note={words.perRequest} />
      <Spend />
      <Tile name={words.models} value={info.data ? short(info.data.models, language) : '–'} note={info.data ? counted(info.data.providers, words.provider, words.providers, language) : undefined} to="/models" />
    </section>
  );
}

const step = 5;
const pastSpans: readonly PastSpan[] = ['24h', '7d', '30d', '90d'];

/** What happened of late, or in the days before: of everything, or of the model, provider or key that was picked. */
function Figures() {
  const words = useWords();
  const [search, setSearch] = useSearchParams();
  const [dim, setDim] = useState<Dim>('model');
  const [label, setLabel] = useState<string | null>(null);
  const span = pastSpans.find((s) => s === search.get('span')) ?? '5m';
  const title = span === '5m' ? words.lastFive : words[`span_${span}`];
  const series = useQuery(lists.series);
  const nameOf = (id: string) => (series.data && { model: series.data.models, upstream: series.data.upstreams, key: series.data.keys }[dim].find((r) => r.id === id)?.label) || id;
  return (
    <section className="card" aria-label={title}>
      <div className="card-head">
        <b>{title}{label !== null && <> · <span className="mono">{nameOf(label)}</span></>} {label !== null && <button type="button" className="quiet" onClick={() => setLabel(null)}>{words.all}</button>}</b>
        <Choice label={words.time} value={span} onChange={(s) => setSearch(s === '5m' ? {} : { span: s }, { replace: true })} data={[{ value: '5m', label: words.short_5m }, ...pastSpans.map((s) => ({ value: s, label: words[`short_${s}`] }))]} />
      </div>
      {span === '5m' ? <Live dim={dim} label={label} onPick={setLabel} by={<By dim={dim} onChange={(d) => { setDim(d); setLabel(null); }} />} />
        : <Suspense fallback={<Skeleton height={300} />}><Past span={span} dim={dim} label={label} onPick={setLabel} by={<By dim={dim} onChange={(d) => { setDim(d); setLabel(null); }} />} /></Suspense>}
    </section>
  );
}

function By({ dim, onChange }: { dim: Dim; onChange: (dim: Dim) => void }) {
  const words = useWords();
  return <div className="card-row"><Choice label={words.groupBy} value={dim} onChange={onChange} data={[{ value: 'model', label: words.byModel }, { value: 'upstream', label: words.byProvider }, { value: 'key', label: words.byKey }]} /></div>;
}

/** The last five minutes, second by second. */
function Live({ dim, label, onPick, by }: Shown) {
  const words = useWords();
  const { language } = useSpeech();
  const [hasTime, setTime] = useState(false);
  useEffect(() => requestIdle(() => setTime(true)), []);
  const all = useQuery(lists.series);
  const of = useQuery({ ...seriesOf(dim, label ?? ''), enabled: label !== null });
  const data = label === null ? all.data : of.data;
  const { times, good, bad, ttft, total, tokensIn, tokensOut, cost } = useMemo(() => {
    const n = 300 / step;
    const buckets = Array.from({ length: n }, () => ({ good: 0, bad: 0, in: 0, out: 0, cost: 0, ttft: 0, answered: 0, ms: 0 }));
    for (const p of data?.series ?? []) {
      const b = buckets[Math.floor((299 + p.t) / step)];
      if (!b) continue;
      b.good += p.requests - p.errors;
      b.bad += p.errors + p.refused;
      b.in += p.tokens_in;
      b.out += p.tokens_out;
      b.cost += p.cost_nanousd;
      if (p.ttft_ms > 0) { b.ttft += p.ttft_ms * p.requests; b.ms += p.answered_ms * p.requests; b.answered += p.requests; } // both of those that were answered
    }
    const now = Math.floor(Date.now() / 1000);
    return {
      times: buckets.map((_, i) => now - 300 + i * step),
      good: buckets.map((b) => (b.good + b.bad) / step), bad: buckets.map((b) => b.bad / step),
      ttft: buckets.map((b) => (b.answered ? b.ttft / b.answered : null)), total: buckets.map((b) => (b.answered ? b.ms / b.answered : null)),
      tokensIn: buckets.map((b) => b.in / step), tokensOut: buckets.map((b) => b.out / step), cost: buckets.map((b) => (b.cost * 60) / step),
    };
  }, [data]);
  const table = all.data ? { model: all.data.models, upstream: all.data.upstreams, key: all.data.keys }[dim] : [];
  const dollars = moneyLike(table.map((r) => r.cost_nanousd));
  const decimals = (v: number) => (v >= 10 || Number.isInteger(v) ? short(Math.round(v), language) : String(Number(v.toPrecision(2))));
  const ms = (v: number) => (v === 0 ? '0' : span(Math.round(v * 1000)));
  const charts = [
    { title: words.traffic, show: decimals, lines: [{ name: words.ok, color: '--mapped', values: good, isBar: true }, { name: words.failedOnes, color: '--bad', values: bad, isBar: true }] },
    { title: words.latency, show: ms, lines: [{ name: words.ttft, color: '--fine', values: ttft }, { name: words.duration, color: '--mapped', values: total }] },
    { title: words.tokensASecondAll, show: decimals, lines: [{ name: words.input, color: '--mapped', values: tokensIn, isFilled: true }, { name: words.output, color: '--fine', values: tokensOut, isFilled: true }] },
    { title: words.costAMinute, show: (v: number) => money(v).replace(/(\.\d*?)0+$/, '$1').replace(/\.$/, ''), lines: [{ name: words.cost, color: '--added', values: cost, isBar: true }] },
  ];
  return (
    <>
      <div className="four">
        {charts.map((c) => (
          <div key={c.title}>
            <div className="tile-name">{c.title}</div>
            <div className="chart-room">{hasTime && <Suspense fallback={null}><Chart times={times} lines={c.lines} show={c.show} label={c.title} /></Suspense>}</div>
          </div>
        ))}
      </div>
      {by}
      {table.length === 0 ? <p className="card-text">{words.noTraffic}</p> : (
        <div className="scroll" tabIndex={0} role="region" aria-label={words.lastFive}>
          <table className="sheet">
            <thead><tr><th>{words[dim === 'upstream' ? 'provider' : dim]}</th>{[words.requests, words.errorRate, words.input, words.output, words.cost, words.ttft, words.duration].map((h) => <th key={h} className="right">{h}</th>)}</tr></thead>
            <tbody>
              {table.toSorted((a, b) => b.requests - a.requests).slice(0, 8).map((r) => (
                <tr key={r.id} className="clickable" aria-selected={label === r.id} onClick={() => onPick(label === r.id ? null : r.id)}>
                  <td><button type="button" className="vt-sort mono">{r.label || r.id || words.none}</button></td>
                  <td className="right">{count(r.requests + r.refused, language)}</td>
                  <td className="right" style={r.errors + r.refused ? { color: 'var(--bad)' } : undefined}>{r.errors + r.refused ? `${((100 * (r.errors + r.refused)) / (r.requests + r.refused)).toFixed(1)} %` : '0'}</td>
                  <td className="right">{short(r.tokens_in, language)}</td><td className="right">{short(r.tokens_out, language)}</td><td className="right">{r.unpriced >= r.requests ? '–' : dollars(r.cost_nanousd)}</td>
                  <td className="right">{r.ttft_ms > 0 ? ms(r.ttft_ms) : '–'}</td><td className="right">{r.answered_ms > 0 ? ms(r.answered_ms) : '–'}</td>
                </tr>
              ))}
            </tbody>
          </table>
          {table.length > 8 && <p className="card-text">{words.firstOf} {count(table.length, language)}</p>}
        </div>
      )}
    </>
  );
}

function Changes() {
  const words = useWords();
  const versions = useQuery(lists.versions);
  const keys = useQuery({ ...lists.keys, enabled: versions.data?.slice(0, 8).some((v) => v.actor.startsWith('key ')) ?? false });
  return (
    <section className="card" aria-label={words.whatChanged}>
      <Head title={words.whatChanged} to="/settings/history" />
      <Loaded query={versions}>
        {(all) => all.length === 0 ? <Empty icon={<IconHistory size={28} />} title={words.none} hint="" />
          : <ul className="changes">{all.slice(0, 8).map((v) => <li key={v.id}><span className="ell changes-what" title={v.what}>{changedWords(words, v.what)}</span><span className="dim ell" title={v.actor}>{actorWords(words, v.actor, (id) => keys.data?.find((k) => k.id === id)?.label || id)}</span><When iso={v.at} /></li>)}</ul>}
      </Loaded>
    </section>
  );
}
