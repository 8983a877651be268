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
  const columns = useMemo<Column<LoggedRequest>[]>(() => {
    const now = Date.now();
    return [
      { id: 'time', head: words.time, width: 'minmax(74px, 128px)', cell: (r) => <time className="num" dateTime={r.ended} title={moment(r.ended, language)}>{clock(r.ended, now, language)}</time> },
      { id: 'status', head: words.status, width: '58px', cell: (r) => <StatusBadge status={r.status} /> },
      { id: 'model', head: words.model, width: 'minmax(120px, 2fr)', cell: (r) => <><span className="mono">{r.model ?? '–'}</span>{r.error && <span style={{ color: 'var(--mantine-color-error)' }}> · {r.error}</span>}</> },
      { id: 'provider', head: words.provider, width: 'minmax(80px, 1fr)', from: 640, cell: (r) => <>{r.provider ?? '–'}{r.attempts > 1 && <span className="tag" style={{ marginLeft: 6 }}>{r.attempts}×</span>}</> },
      { id: 'key', head: words.key, width: 'minmax(70px, 1fr)', from: 820, cell: (r) => <span style={{ color: 'var(--mantine-color-dimmed)' }}>{r.key_label || r.key || '–'}</span> },
      { id: 'format', head: words.format, width: 'minmax(150px, 1.2fr)', from: 1180, cell: (r) => <span style={{ color: 'var(--mantine-color-dimmed)' }}>{r.client_format ?? '–'}{r.upstream_format && r.upstream_format !== r.client_format ? ` → ${r.upstream_format}` : ''}</span> },
      { id: 'in', head: words.input, width: '64px', right: true, from: 740, cell: (r) => count(r.input_tokens, language) },
      { id: 'out', head: words.output, width: '64px', right: true, from: 740, cell: (r) => count(r.output_tokens, language) },
      { id: 'cost', head: words.cost, width: '78px', right: true, from: 700, cell: (r) => money(r.cost_nanousd) },
      { id: 'ttft', head: words.ttft, width: '82px', right: true, from: 960, cell: (r) => span(r.ttft_us) },
      { id: 'duration', head: words.duration, width: '70px', right: true, from: 380, cell: (r) => span(r.duration_us) },
    ];
  }, [words, language]);
  return <VTable label={words.requests} rows={rows} columns={columns} rowKey={(r) => r.seq} rowHeight={36} height={height} onOpen={onOpen} isPicked={picked ? (r) => r.id === picked : undefined} scroller={scroller} onEnd={onEnd} onScroll={onScroll} foot={foot} />;
}
