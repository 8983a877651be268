// Bars over time, each made of parts; what is expected of the rest is drawn as lighter bars. The figures stand in the table beside it.
import { useElementSize } from '@mantine/hooks';
import { useId, useState } from 'react';

/** hatch: drawn over the colour, where colours do not suffice. */
export type Hatch = 'none' | 'rising' | 'falling';
export interface Part { name: string; color: string; hatch?: Hatch; values: number[] }

export function Swatch({ color, hatch = 'none' }: { color: string; hatch?: Hatch | undefined }) {
  return <span className="swatch" style={{ background: hatch === 'none' ? color : `repeating-linear-gradient(${hatch === 'rising' ? 135 : 45}deg, ${color} 0 2px, var(--mantine-color-body) 2px 4px)` }} />;
}

interface Props { times: number[]; parts: Part[]; expected?: (number | null)[]; label: string; show: (value: number) => string; dated: (time: number) => string; height?: number }

const bottom = 24;

/** Round values that divide the height well. */
function ticks(top: number): number[] {
  if (top <= 0) return [];
  const rough = top / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((f) => f * power).find((s) => s >= rough) ?? rough;
  return Array.from({ length: Math.floor(top / step + 1e-9) }, (_, i) => (i + 1) * step);
}

export function Stacked({ times, parts, expected, label, show, dated, height = 240 }: Props) {
  const { ref, width } = useElementSize<HTMLDivElement>();
  const id = useId();
  const [at, setAt] = useState<number | null>(null);
  const sums = times.map((_, i) => parts.reduce((sum, p) => sum + Math.max(0, p.values[i] ?? 0), 0));
  const top = Math.max(...sums, ...(expected ?? []).map((v) => v ?? 0), 0) * 1.06;
  const left = 14 + 6.6 * Math.max(5, ...ticks(top).map((t) => show(t).length)); // what the longest figure takes
  const high = height - bottom - 8;
  const y = (v: number) => 8 + high - (top > 0 ? (v / top) * high : 0);
  const band = times.length > 0 ? Math.max(0, width - left) / times.length : 0;
  const bar = Math.max(1, Math.min(44, band * 0.72));
  const every = Math.max(1, Math.ceil(times.length / Math.max(1, Math.floor((width - left) / 76))));
  const total = sums.reduce((a, b) => a + b, 0);
  const seen = at === null ? [] : parts.filter((p) => (p.values[at] ?? 0) !== 0);
  return (
    <div ref={ref} className="stacked" style={{ height }} onMouseLeave={() => setAt(null)}>
      {width > 0 && (
        <svg width={width} height={height} role="img" aria-label={`${label}: ${show(total)}`}
          onMouseMove={(e) => { const i = Math.floor((e.clientX - e.currentTarget.getBoundingClientRect().left - left) / band); setAt(i >= 0 && i < times.length ? i : null); }}>
          <defs>
            {(['rising', 'falling'] as const).map((h) => (
              <pattern key={h} id={`${id}${h}`} width={5} height={5} patternUnits="userSpaceOnUse" patternTransform={`rotate(${h === 'rising' ? 45 : -45})`}><rect width={2} height={5} fill="var(--mantine-color-body)" /></pattern>
            ))}
          </defs>
          {at !== null && <rect x={left + at * band} y={0} width={band} height={height - bottom} className="stacked-band" />}
          {[0, ...ticks(top)].map((t) => (
            <g key={t}><line x1={left} x2={width} y1={Math.round(y(t)) + 0.5} y2={Math.round(y(t)) + 0.5} className="stacked-line" /><text x={left - 8} y={y(t) + 4} textAnchor="end" className="stacked-text">{t === 0 ? '0' : show(t)}</text></g>
          ))}
          {times.map((t, i) => {
            let base = 0;
            const x = left + i * band + (band - bar) / 2;
            const guess = expected?.[i];
            return (
              <g key={t}>
                {guess !== null && guess !== undefined && guess > 0 && <rect x={x + 0.5} y={y(guess)} width={Math.max(1, bar - 1)} height={Math.max(0, y(0) - y(guess))} rx={2} className="stacked-guess" />}
                {parts.map((p) => {
                  const v = Math.max(0, p.values[i] ?? 0);
                  if (v === 0) return null;
                  base += v;
                  const box = { x, y: y(base), width: bar, height: Math.max(0.5, (v / top) * high) };
                  return <g key={p.name}><rect {...box} fill={p.color} />{p.hatch && p.hatch !== 'none' && <rect {...box} fill={`url(#${id}${p.hatch})`} />}</g>;
                })}
                {i % every === 0 && <text x={left + i * band + band / 2} y={height - 7} textAnchor="middle" className="stacked-text">{dated(t)}</text>}
              </g>
            );
          })}
        </svg>
      )}
      {at !== null && (
        <div className="stacked-tip" style={at > times.length / 2 ? { right: width - left - at * band + 8 } : { left: left + (at + 1) * band + 8 }}>
          <div className="stacked-tip-head"><b>{dated(times[at] ?? 0)}</b><b className="num">{show(sums[at] ?? 0)}</b></div>
          {seen.toReversed().map((p) => <div key={p.name} className="stacked-tip-row"><Swatch color={p.color} hatch={p.hatch} /><span className="ell">{p.name}</span><span className="num">{show(p.values[at] ?? 0)}</span></div>)}
        </div>
      )}
    </div>
  );
}
