// Numbers, sizes and times for people, in the viewer's language and zone.
import type { Language } from '../i18n';

const locale = (language: Language) => (language === 'zh' ? 'zh-Hans' : 'en-GB');

export function count(n: number | null | undefined, language: Language): string {
  return n === null || n === undefined || n < 0 ? '–' : new Intl.NumberFormat(locale(language)).format(n);
}

/** Microseconds as the unit that reads best: 850 µs, 12 ms, 3.4 s, 2 min 5 s. */
export function span(us: number | null | undefined): string {
  if (us === null || us === undefined || us < 0) return '–';
  if (us < 1000) return `${us} µs`;
  if (us < 1e6) return `${(us / 1000).toPrecision(us < 1e4 ? 2 : 3).replace(/\.0+$/, '')} ms`;
  if (us < 6e7) return `${(us / 1e6).toFixed(us < 1e7 ? 1 : 0)} s`;
  const s = Math.round(us / 1e6);
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

export function moment(iso: string, language: Language): string {
  const at = new Date(iso);
  return Number.isNaN(at.getTime()) ? iso : at.toLocaleString(locale(language), { dateStyle: 'medium', timeStyle: 'medium' });
}

const steps: [Intl.RelativeTimeFormatUnit, number][] = [['day', 86400], ['hour', 3600], ['minute', 60], ['second', 1]];

export function relative(iso: string, now: number, language: Language): string {
  const s = (new Date(iso).getTime() - now) / 1000;
  if (Number.isNaN(s)) return iso;
  const [unit, size] = steps.find(([, n]) => Math.abs(s) >= n) ?? ['second', 1];
  return new Intl.RelativeTimeFormat(locale(language), { numeric: 'auto' }).format(Math.round(s / size), unit);
}

export function median(values: number[]): number | null {
  const sorted = values.filter((v) => v >= 0).sort((a, b) => a - b);
  return sorted.length === 0 ? null : (sorted[Math.floor(sorted.length / 2)] ?? null);
}
