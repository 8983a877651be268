// What happened in the hours or days before, as the ledger sums it up: of everything, or of what was picked.
import { useQuery } from '@tanstack/react-query';
import { type ReactNode, useEffect, useMemo, useState } from 'react';
import { beginnings, bounds, summed, useNames, zone } from '../api/costs';
import { useSpeech } from '../i18n';
import { count, money, moneyLike, short } from '../parts/format';
import { Loaded } from '../parts/pieces';
import { Stacked, Swatch } from '../parts/stacked';

export type Dim = 'model' | 'upstream' | 'key';
export type PastSpan = '24h' | '7d' | '30d' | '90d';
/** `onPick`: of which everything else is to be shown, null: of all; `by`: the choice of what the table goes by. */
export interface Shown { dim: Dim; label: string | null; onPick: (label: string | null) => void; by: ReactNode }

/** The last 24 hours end with the hour under way. */
function boundsOf(span: PastSpan, now: Date): ReturnType<typeof bounds> {
  if (span !== '24h') return bounds(span, now);
  const hour = Math.floor(now.getTime() / 3_600_000) * 3_600_000;
  return { from: new Date(hour - 23 * 3_600_000), to: new Date(hour + 3_600_000), bucket: 'hour' };
}

export default function Past({ span, dim, label, onPick, by }: Shown & { span: PastSpan }) {
  const { words, language } = useSpeech();
  const nameOf = useNames();
  const [hour, setHour] = useState(() => Math.floor(Date.now() / 3_600_000));
  useEffect(() => { const timer = setInterval(() => setHour(Math.floor(Date.now() / 3_600_000)), 60_000); return () => clearInterval(timer); }, []);
  const { from, to, bucket } = useMemo(() => boundsOf(span, new Date(Math.max(Date.now(), hour * 3_600_000))), [span, hour]);
  const times = useMemo(() => beginnings(from, to, bucket), [from, to, bucket]);
  const of = dim === 'upstream' ? 'provider' : dim;
  const asked = { time_zone: zone, from: from.toISOString(), to: to.toISOString() };
  const over = useQuery(summed({ ...asked, bucket, ...(label !== null && { [of]: label }) }));
  const groups = useQuery(summed({ ...asked, bucket: 'total', group_by: of }));
  const dated = (t: number) => new Date(t).toLocaleString(language === 'zh' ? 'zh-Hans' : 'en-GB', bucket === 'hour' ? { hour: '2-digit', minute: '2-digit' } : { day: 'numeric', month: 'short' });
  const table = (groups.data?.data ?? []).toSorted((a, b) => b.requests - a.requests);
  const dollars = moneyLike(table.map((r) => r.cost_nanousd));
  const whole = (v: number) => short(Math.round(v), language);
  return (
    <Loaded query={over}>
      {(data) => {
        const at = new Map(data.data.map((r) => [r.at ? new Date(r.at).getTime() : 0, r]));
        const values = (of2: (r: (typeof data.data)[number]) => number) => times.map((t) => { const r = at.get(t); return r ? of2(r) : 0; });
        const charts = [
          { title: bucket === 'hour' ? words.requestsAnHour : words.requestsADay, show: whole, parts: [{ name: words.requests, color: 'var(--mapped)', values: values((r) => r.requests) }] },
          { title: words.tokens, show: whole, parts: [{ name: words.output, color: 'var(--fine)', values: values((r) => r.output_tokens) }, { name: words.input, color: 'var(--mapped)', values: values((r) => r.input_tokens) }] },
          { title: words.cost, show: (v: number) => money(v).replace(/(\.\d*?)0+$/, '$1').replace(/\.$/, ''), parts: [{ name: words.cost, color: 'var(--added)', values: values((r) => r.cost_nanousd ?? 0) }] },
        ];
        return (
          <>
            <div className="three">{charts.map((c) => <div key={c.title}><div className="tile-name">{c.title}</div><Stacked label={c.title} times={times} parts={c.parts} show={c.show} dated={dated} height={172} />{c.parts.length > 1 && <ul className="legend legend-row">{c.parts.map((p) => <li key={p.name}><Swatch color={p.color} />{p.name}</li>)}</ul>}</div>)}</div>
            {by}
            {table.length === 0 ? <p className="card-text">{words.noCosts}</p> : (
              <div className="scroll" tabIndex={0} role="region" aria-label={words[`span_${span}`]}>
                <table className="sheet">
                  <thead><tr><th>{words[of]}</th>{[words.requests, words.input, words.output, words.cost].map((h) => <th key={h} className="right">{h}</th>)}</tr></thead>
                  <tbody>
                    {table.slice(0, 8).map((r) => {
                      const id = r[of] ?? '';
                      return (
                        <tr key={id} className="clickable" aria-selected={label === id} onClick={() => onPick(label === id ? null : id)}>
                          <td><button type="button" className="vt-sort mono">{id === '(none)' || !id ? words.none : nameOf(of, id)}</button></td>
                          <td className="right">{count(r.requests, language)}</td><td className="right">{short(r.input_tokens, language)}</td><td className="right">{short(r.output_tokens, language)}</td><td className="right">{dollars(r.cost_nanousd)}</td>
                        </tr>
                      );
                    })}
                  </tbody>
                </table>
                {table.length > 8 && <p className="card-text">{words.firstOf} {count(table.length, language)}</p>}
              </div>
            )}
            <p className="card-text">{words.pastHint}</p>
          </>
        );
      }}
    </Loaded>
  );
}
