// A line or bar chart over time, drawn by uPlot on a canvas; read out as a sentence to those who cannot see it.
import 'uplot/dist/uPlot.min.css';
import { useComputedColorScheme } from '@mantine/core';
import { useElementSize, useMergedRef } from '@mantine/hooks';
import { useEffect, useRef } from 'react';
import uPlot from 'uplot';

/** Values between two gaps: no line goes through them. */
function alone(u: uPlot, series: number): number[] {
  const values = u.data[series] ?? [];
  const is = (i: number) => values[i] !== null && values[i] !== undefined;
  return Array.from(values, (_, i) => i).filter((i) => is(i) && !is(i - 1) && !is(i + 1));
}

export interface Line { name: string; color: string; values: (number | null)[]; isFilled?: boolean; isBar?: boolean }

interface Props { times: number[]; lines: Line[]; height?: number; label: string; show: (value: number) => string }

const css = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const plain = (color: string) => (color.startsWith('--') ? css(color) : color);

/** Where there is nothing, or nothing but zeros, the axis has the one mark that says so. */
const isEmpty = (u: uPlot) => !u.data.slice(1).some((values) => Array.from(values).some(Boolean));
const rangeOf = (low: number | null, high: number | null): [number, number] => [Math.min(0, low ?? 0), high ? high * 1.1 : 1];

export default function Chart({ times, lines, height = 150, label, show }: Props) {
  const scheme = useComputedColorScheme('light');
  const box = useRef<HTMLDivElement>(null);
  const { ref: sized, width } = useElementSize<HTMLDivElement>();
  const ref = useMergedRef(box, sized);
  const plot = useRef<uPlot | null>(null);
  const data: uPlot.AlignedData = [times, ...lines.map((l) => l.values)];
  const now = useRef(data);
  now.current = data;
  const showing = useRef(show);
  showing.current = show;
  const names = lines.map((l) => `${l.name} ${l.color} ${l.isBar ? 'bar' : ''}`).join();
  useEffect(() => {
    if (!box.current || width === 0) return;
    const axis = { stroke: css('--mantine-color-dimmed'), font: `11px ${css('--mantine-font-family') || 'sans-serif'}`, ticks: { show: false } };
    const grid = { stroke: css('--mantine-color-default-border'), width: 1 };
    const made = new uPlot({
      width, height, legend: { show: true, live: true }, cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
      scales: { y: { range: (_, low, high) => rangeOf(low, high) } },
      axes: [
        { ...axis, grid: { show: false }, size: 26, gap: 2, space: 56, incrs: [1, 5, 15, 30, 60, 300, 900, 3600, 21600, 86400], values: (_, at) => at.map((t) => new Date(t * 1000).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: (at[1] ?? 0) - (at[0] ?? 0) < 60 ? '2-digit' : undefined, hour12: false })) },
        { ...axis, grid, size: 52, space: 34, values: (u, at) => at.map((v) => (isEmpty(u) && v !== 0 ? '' : showing.current(v))) },
      ],
      series: [
        { value: (_, t) => (t === null ? '' : new Date(t * 1000).toLocaleTimeString([], { hour12: false })), label: '' },
        ...lines.map((l): uPlot.Series => ({
          label: l.name, stroke: plain(l.color), width: l.isBar ? 0 : 1.6, points: { show: !l.isBar && !l.isFilled, size: 4, filter: alone }, value: (_, v, __, at) => (at === null ? '' : v === null ? '–' : showing.current(v)),
          ...((l.isFilled || l.isBar) && { fill: l.isBar ? plain(l.color) : `color-mix(in srgb, ${plain(l.color)} 14%, transparent)` }),
          ...(l.isBar && uPlot.paths.bars && { paths: uPlot.paths.bars({ size: [0.72, 24], align: 1 }) }),
        })),
      ],
    }, now.current, box.current);
    plot.current = made;
    return () => { plot.current = null; made.destroy(); };
  }, [scheme, names, height, width === 0]); // eslint-disable-line -- data and width are given to the plot that stands
  useEffect(() => { if (width > 0) plot.current?.setSize({ width, height }); }, [width, height]);
  useEffect(() => { plot.current?.setData(data); });
  const said = lines.map((l) => { const last = l.values.findLast((v) => v !== null); return `${l.name} ${last === undefined || last === null ? '–' : show(last)}`; }).join(', ');
  return <div ref={ref} role="img" aria-label={`${label}: ${said}`} className="chart" />;
}
