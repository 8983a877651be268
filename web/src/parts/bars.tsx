// A small bar chart: fine and failed, one bar a step. Read out as a sentence to those who cannot see it.
import { Group, Text } from '@mantine/core';

export interface Bar { label: string; good: number; bad: number }

export function Bars({ bars, good, bad }: { bars: Bar[]; good: string; bad: string }) {
  const top = Math.max(0.2, ...bars.map((b) => b.good + b.bad));
  const step = 100 / bars.length;
  const total = bars.reduce((n, b) => n + b.good, 0);
  const failed = bars.reduce((n, b) => n + b.bad, 0);
  return (
    <div>
      <svg viewBox="0 0 100 28" width="100%" height={110} preserveAspectRatio="none" role="img" aria-label={`${good}: ${total.toFixed(1)}, ${bad}: ${failed.toFixed(1)}`}>
        {bars.map((b, i) => {
          const high = (26 * (b.good + b.bad)) / top;
          const red = (26 * b.bad) / top;
          return (
            <g key={b.label}>
              <title>{`${b.label}: ${b.good.toFixed(1)} ${good}, ${b.bad.toFixed(1)} ${bad}`}</title>
              <rect x={i * step} y={0} width={step} height={28} fill="transparent" />
              <rect x={i * step + step * 0.12} y={28 - high} width={step * 0.76} height={high - red} fill="var(--mantine-primary-color-filled)" />
              <rect x={i * step + step * 0.12} y={28 - red} width={step * 0.76} height={red} fill="var(--mantine-color-red-filled)" />
            </g>
          );
        })}
        <line x1={0} x2={100} y1={28} y2={28} stroke="var(--mantine-color-default-border)" strokeWidth={0.4} />
      </svg>
      <Group justify="space-between"><Text size="xs" c="dimmed">{bars[0]?.label}</Text><Text size="xs" c="dimmed">max {Number.isInteger(top) ? top : top.toFixed(1)}</Text><Text size="xs" c="dimmed">{bars.at(-1)?.label}</Text></Group>
    </div>
  );
}
