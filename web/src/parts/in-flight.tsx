// What is being served at this moment, with the way to stop it.
import { IconPlayerStop } from '@tabler/icons-react';
import { useMutation, useQuery } from '@tanstack/react-query';
import { api, take } from '../api/client';
import { lists } from '../api/lists';
import { useSpeech, useWords } from '../i18n';
import { count, money, said, span } from './format';
import { Failure } from './pieces';

const shown = 50;

export function InFlight({ hidesEmpty = false }: { hidesEmpty?: boolean }) {
  const words = useWords();
  const { language } = useSpeech();
  const active = useQuery(lists.active);
  const stop = useMutation({ mutationFn: (id: string) => take(api.DELETE('/sluice/v1/requests/active/{id}', { params: { path: { id } } })) });
  const rows = active.data ?? [];
  if (hidesEmpty && rows.length === 0) return null;
  return (
    <section className="card" aria-label={words.inFlight}>
      <div className="card-head">
        <b className="card-live"><span className="dot" data-is={rows.length ? 'wait' : undefined} />{words.inFlight}{rows.length > 0 && ` · ${rows.length}`}</b>
        {rows.length === 0 && <span className="dim">{words.nothingInFlight}</span>}
      </div>
      {stop.error && <Failure error={stop.error} />}
      {rows.length > 0 && (
        <div className="scroll" tabIndex={0} role="region" aria-label={words.inFlight}>
          <table className="sheet">
            <thead>
              <tr>
                <th>{words.model}</th><th>{words.provider}</th><th>{words.key}</th><th>{words.state}</th>
                <th className="right">{words.elapsed}</th><th className="right">{words.output}</th><th className="right">{words.costSoFar}</th><th className="sheet-act" aria-label={words.actions} />
              </tr>
            </thead>
            <tbody>
              {rows.slice(0, shown).map((r) => (
                <tr key={r.id}>
                  <td><span className="mono">{r.model || '…'}</span><span className="dim num small-only">{span(r.elapsed_ms * 1000)}{r.cost_nanousd !== null && ` · ≈ ${money(r.cost_nanousd)}`}</span></td>
                  <td>{r.upstream ?? '–'}</td>
                  <td className="dim">{r.key_label || r.key_id || '–'}</td>
                  <td><span className="tag">{said(words, 'state', r.state)}</span></td>
                  <td className="right">{span(r.elapsed_ms * 1000)}</td>
                  <td className="right">{r.tokens_estimated ? '≈ ' : ''}{count(r.tokens_out, language)}</td>
                  <td className="right">{r.cost_nanousd === null ? '–' : `≈ ${money(r.cost_nanousd)}`}</td>
                  <td className="right sheet-act"><button type="button" className="icon-button" data-is="bad" onClick={() => stop.mutate(r.id)} title={words.stopRequest} aria-label={`${words.stopRequest} ${r.id}`}><IconPlayerStop size={16} /></button></td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}
