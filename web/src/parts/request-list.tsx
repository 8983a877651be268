// Rows of the request log: as many as there are, of which those in sight are drawn.
import { useMemo } from 'react';
import type { LoggedRequest } from '../api/requests';
import { useSpeech, useWords } from '../i18n';
import { clock, count, moment, money, span } from './format';
import { StatusBadge } from './pieces';
import { type Column, VTable } from './vtable';

export default function RequestList({ rows, onOpen, picked, height, scroller, onEnd, onScroll, foot }: {
  rows: readonly LoggedRequest[]; onOpen: (r: LoggedRequest) => void; picked?: string | undefined; height: string; scroller?: React.RefObject<HTMLDivElement | null>;
  onEnd?: (() => void) | undefined; onScroll?: (top: number) => void; foot?: React.ReactNode;
}) {
  const words = useWords();
  const { language } = useSpeech();
  const day = new Date().toDateString();
  const isToday = [rows[0], rows.at(-1)].every((r) => !r || new Date(r.ended).toDateString() === day); // no row has its day before its time
  const columns = useMemo<Column<LoggedRequest>[]>(() => {
    const now = Date.now();
    const dim = (text: string) => <span className="dim">{text}</span>;
    const format = (r: LoggedRequest) => [...new Set([r.client_format ?? '–', r.upstream_format || r.client_format || '–'])].map((f) => f.replace(/^openai_/, '')).join(' → ');
    return [
      { id: 'time', head: words.time, width: isToday ? '66px' : 'minmax(74px, 118px)', cell: (r) => <time className="num" dateTime={r.ended} title={moment(r.ended, language)}>{clock(r.ended, now, language)}</time> },
      { id: 'status', head: words.status, width: '52px', cell: (r) => <StatusBadge status={r.status} /> },
      { id: 'model', head: words.model, width: 'minmax(120px, 2.4fr)', hint: (r) => [r.model, r.error, r.error_message].filter(Boolean).join(' · '),
        cell: (r) => <span className="model-cell"><span className="mono ell">{r.model ?? '–'}</span>{r.error && <span className="tag ell" data-is="bad">{r.error}</span>}</span> },
      { id: 'provider', head: words.provider, width: 'minmax(80px, 1fr)', from: 640, hint: (r) => r.provider ?? '', cell: (r) => r.provider ?? '–' },
      { id: 'attempts', head: <span className="hide">{words.tried}</span>, width: '26px', right: true, from: 640, hint: (r) => `${words.tried} · ${r.attempts}`, cell: (r) => (r.attempts > 1 ? <span className="tag">{r.attempts}×</span> : null) },
      { id: 'key', head: words.key, width: 'minmax(70px, 0.8fr)', from: 820, hint: (r) => r.key_label || r.key || '', cell: (r) => dim(r.key_label || r.key || '–') },
      { id: 'format', head: words.format, width: 'minmax(124px, 1fr)', from: 1080, hint: (r) => [r.client_format, r.upstream_format].filter(Boolean).join(' → '), cell: (r) => dim(format(r)) },
      { id: 'in', head: words.input, width: '58px', right: true, from: 820, cell: (r) => count(r.input_tokens, language) },
      { id: 'out', head: words.output, width: '58px', right: true, from: 820, cell: (r) => count(r.output_tokens, language) },
      { id: 'cost', head: words.cost, width: '76px', right: true, from: 700, cell: (r) => money(r.cost_nanousd) },
      { id: 'ttft', head: words.ttft, width: '76px', right: true, from: 960, cell: (r) => span(r.ttft_us) },
      { id: 'duration', head: words.duration, width: '66px', right: true, from: 380, cell: (r) => span(r.duration_us) },
    ];
  }, [words, language, isToday]);
  return <VTable label={words.requests} rows={rows} columns={columns} rowKey={(r) => r.seq} rowHeight={36} height={height} onOpen={onOpen} isPicked={picked ? (r) => r.id === picked : undefined} scroller={scroller} onEnd={onEnd} onScroll={onScroll} foot={foot} />;
}
