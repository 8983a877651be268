// Numbers, sizes and times for people, in the viewer's language and zone.
import type { Language } from '../i18n';
import type { Words } from '../i18n/en';

const locale = (language: Language) => (language === 'zh' ? 'zh-Hans' : 'en-GB');

export function count(n: number | null | undefined, language: Language): string {
  return n === null || n === undefined || n < 0 ? '–' : new Intl.NumberFormat(locale(language)).format(n);
}

/** 1 model, 2 models. */
export const counted = (n: number, one: string, many: string, language: Language): string => (language === 'zh' ? `${count(n, language)} 个${many}` : `${count(n, language)} ${(n === 1 ? one : many).toLowerCase()}`);

let units = { us: 'µs', ms: 'ms', s: 's', min: 'min', h: 'h', d: 'd' };
/** Before anything is drawn in a language. */
export function speakUnits(language: Language): void {
  units = language === 'zh' ? { us: '微秒', ms: '毫秒', s: '秒', min: '分', h: '小时', d: '天' } : { us: 'µs', ms: 'ms', s: 's', min: 'min', h: 'h', d: 'd' };
}

/** Microseconds as the unit that reads best: 850 µs, 12 ms, 3.4 s, 2 min 5 s. */
export function span(us: number | null | undefined): string {
  if (us === null || us === undefined || us < 0) return '–';
  if (us < 1000) return `${us} ${units.us}`;
  if (us < 999_500) return `${(us / 1000).toFixed(us < 99_950 ? 1 : 0).replace(/\.0$/, '')} ${units.ms}`;
  if (us < 6e7) return `${(us / 1e6).toFixed(us < 1e7 ? 1 : 0)} ${units.s}`;
  const s = Math.round(us / 1e6);
  if (s < 3600) return `${Math.floor(s / 60)} ${units.min} ${s % 60} ${units.s}`;
  if (s < 86400) return `${Math.floor(s / 3600)} ${units.h} ${Math.floor((s % 3600) / 60)} ${units.min}`;
  return `${Math.floor(s / 86400)} ${units.d} ${Math.floor((s % 86400) / 3600)} ${units.h}`;
}

/** Tokens a second: of a stream while it came, of a whole answer in all its time. null: too short to say. */
export function speedOf(tokens: number | null, totalUs: number, firstUs: number | null): number | null {
  const us = firstUs === null ? totalUs : totalUs - firstUs;
  return tokens !== null && tokens > 1 && us >= 50_000 ? (tokens / us) * 1e6 : null;
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
  const midnight = (at: number) => { const d = new Date(at); return Date.UTC(d.getFullYear(), d.getMonth(), d.getDate()); }; // days are those of the calendar: tomorrow is the next one
  const n = unit === 'day' ? (midnight(now + s * 1000) - midnight(now)) / 86_400_000 : Math.trunc(s / size);
  return new Intl.RelativeTimeFormat(locale(language), { numeric: 'auto' }).format(n, unit);
}

export function median(values: number[]): number | null {
  const sorted = values.filter((v) => v >= 0).sort((a, b) => a - b);
  return sorted.length === 0 ? null : (sorted[Math.floor(sorted.length / 2)] ?? null);
}

/** Nano-USD as dollars, with as many digits as it takes to see something. Unknown is no zero. */
export function money(nanousd: number | null | undefined): string {
  if (nanousd === null || nanousd === undefined) return '–';
  const usd = nanousd / 1e9;
  if (usd === 0) return '$0';
  const digits = Math.abs(usd) >= 100 ? 0 : Math.abs(usd) >= 1 ? 2 : Math.min(9, 2 - Math.floor(Math.log10(Math.abs(usd))));
  return `${usd < 0 ? '−' : ''}$${Math.abs(usd).toFixed(digits)}`;
}

/** A price from a list: two decimals, so that they stand below each other, and more where these say something. */
export const rate = (nanousd: number | null | undefined): string =>
  (nanousd === null || nanousd === undefined ? '–' : `$${new Intl.NumberFormat('en', { minimumFractionDigits: 2, maximumFractionDigits: 6 }).format(nanousd / 1e9)}`);

/** For a column of sums: as many decimals for each as the largest of them needs. */
export function moneyLike(all: readonly (number | null | undefined)[]): (nanousd: number | null | undefined) => string {
  const top = Math.max(0, ...all.map((n) => Math.abs(n ?? 0))) / 1e9;
  const digits = top >= 1 || top === 0 ? 2 : Math.min(9, 3 - Math.floor(Math.log10(top)));
  return (nanousd) => {
    if (nanousd === null || nanousd === undefined) return '–';
    const usd = nanousd / 1e9;
    const text = Math.abs(usd).toFixed(digits);
    return usd !== 0 && Number(text) === 0 ? `< $${(10 ** -digits).toFixed(digits)}` : `${usd < 0 ? '−' : ''}$${text}`;
  };
}

export function size(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  const step = bytes < 1e6 ? 1e3 : bytes < 1e9 ? 1e6 : 1e9;
  return `${(bytes / step).toFixed(bytes / step < 10 ? 1 : 0)} ${step === 1e3 ? 'kB' : step === 1e6 ? 'MB' : 'GB'}`;
}

/** As a field for date and time in the viewer's zone has it. */
export function local(iso: string): string {
  const at = new Date(/^\d+$/.test(iso) ? Number(iso) : iso);
  return Number.isNaN(at.getTime()) ? '' : new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

/** 14:03:22 of today, else with the day before it. */
export function clock(iso: string, now: number, language: Language): string {
  const at = new Date(iso);
  if (Number.isNaN(at.getTime())) return iso;
  const time = at.toLocaleTimeString(locale(language), { hour12: false });
  return at.toDateString() === new Date(now).toDateString() ? time : `${at.toLocaleDateString(locale(language), { day: 'numeric', month: 'short' })} ${time}`;
}

/** 128 k, 1.2 M: for figures that are looked at, not counted. */
export function short(n: number | null | undefined, language: Language): string {
  if (n === null || n === undefined || n < 0) return '–';
  return n < 10_000 ? count(n, language) : new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 }).format(n);
}

/** What the server calls something, in the viewer's language where there is a word for it. */
export const said = (words: Words, of: 'origin' | 'name' | 'quality' | 'period' | 'state' | 'why' | 'fault' | 'standing' | 'task' | 'window' | 'version' | 'actor', word: string): string => (words as Record<string, string>)[`${of}_${word}`] ?? word;

/** Who made a version of the configuration, as people call them: "operator ann", "key 0a1b2c3d". */
export function actorWords(words: Words, actor: string, nameOf = (id: string) => id): string {
  const [, kind, id = ''] = /^(operator|key) (.+)$/s.exec(actor) ?? [];
  return kind === 'key' ? `${words.key} ${nameOf(id)}` : kind ? id : said(words, 'actor', actor);
}

const kinds: Record<string, keyof Words> = { provider: 'provider', model: 'model', key: 'key', setting: 'setting', combo: 'combo', chain: 'kind_chain', alias: 'alias', price: 'price', budget: 'budget', org: 'org', user: 'user', operator: 'operator', policy: 'policy', proxy: 'proxy' };

/** What a version of the configuration changed, as the server sums it up: "provider oa added; model a, b changed". */
export function changedWords(words: Words, what: string): string {
  return what.split('; ').map((part) => {
    const [, kind = '', names, how = ''] = /^(\w+) (.+) (added|removed|changed)$/s.exec(part) ?? [];
    const [, version] = /^rolled back to version (\d+)$/.exec(part) ?? [];
    if (names !== undefined) { const word = kinds[kind]; return `${word ? words[word].toLowerCase() : kind} ${names} ${said(words, 'version', how)}`; }
    return version ? `${words.takenBack} ${version}` : said(words, 'version', part);
  }).join('; ');
}
