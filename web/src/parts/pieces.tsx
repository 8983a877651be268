// Small things that every page is made of.
import { Alert, Box, Button, Code, Skeleton, Stack, Text } from '@mantine/core';
import { useInterval } from '@mantine/hooks';
import { IconAlertTriangle, IconCode, IconRefresh } from '@tabler/icons-react';
import type { UseQueryResult } from '@tanstack/react-query';
import { type ButtonHTMLAttributes, createContext, type ReactNode, type Ref, Suspense, useCallback, useEffect, useRef, useState } from 'react';
import type { Call } from '../api/calls';
import { ApiError } from '../api/client';
import { forgetTag, useReread } from '../api/tags';
import { useSpeech, useWords } from '../i18n';
import { giveFocusBack } from './focus';
import { moment, relative, said } from './format';
import { late } from './late';

/** What the open page can ask for, for what opens beside it. */
export const PageCalls = createContext<Call[] | undefined>(undefined);

/** A page: its title, what can be done on it, and behind "API" the requests that it made and those that it can make. */
export function Page({ title, note, actions, calls, children }:
  { title: string; note?: ReactNode; actions?: ReactNode; calls?: Call[]; children: ReactNode }) {
  useEffect(() => { document.title = `${title} · sluice`; }, [title]);
  return (
    <div className="page">
      <div className="page-head">
        <div>
          <h1>{title}</h1>
          {note !== undefined && <div className="page-note">{note}</div>}
        </div>
        <div className="page-acts">{actions}{calls && <Calls calls={calls} />}</div>
      </div>
      <PageCalls value={calls}>{children}</PageCalls>
    </div>
  );
}

const ApiCalls = late(() => import('./dialogs'));

export function Calls({ calls, onTurn }: { calls: Call[]; onTurn?: (isOpen: boolean) => void }) {
  const [isOpen, setOpen] = useState(false);
  const button = useRef<HTMLButtonElement>(null);
  const turn = (to: boolean) => { setOpen(to); onTurn?.(to); };
  const closed = <ApiButton ref={button} onClick={() => turn(true)} />;
  const close = () => { turn(false); setTimeout(() => giveFocusBack(button.current)); };
  return isOpen ? <Suspense fallback={closed}><ApiCalls calls={calls} onClose={close} /></Suspense> : closed;
}

export function ApiButton({ isOpen = false, ref, className = '', ...rest }: { isOpen?: boolean; ref?: Ref<HTMLButtonElement> } & ButtonHTMLAttributes<HTMLButtonElement>) {
  const words = useWords();
  return <button type="button" className={`button ${className}`} title={words.apiHint} aria-haspopup="dialog" aria-expanded={isOpen} {...rest} ref={ref}><IconCode size={14} aria-hidden />{words.api}</button>;
}

/** What went wrong and what can be done about it: what could not be read can be asked for again by `retry`, the rest was not done. `overwrite` does again what was refused because somebody else had changed the object. */
export function Failure({ error, retry, overwrite }: { error: Error; retry?: () => void; overwrite?: () => void }) {
  const words = useWords();
  const reread = useReread();
  const id = error instanceof ApiError ? error.requestId : '';
  const show = useCallback((box: HTMLElement | null) => box?.scrollIntoView({ block: 'nearest' }), []); // a form may be longer than the window
  if (error instanceof ApiError && error.status === 412)
    return (
      <Alert ref={show} color="orange" icon={<IconAlertTriangle />} title={words.conflict} role="alert">
        <Stack gap="xs" align="flex-start">
          <Text size="sm">{words.conflictHint}</Text>
          <div className="page-acts">
            {reread && <Button size="xs" variant="default" leftSection={<IconRefresh size={14} />} onClick={reread}>{words.readAgain}</Button>}
            {overwrite && <Button size="xs" color="red" variant="light" onClick={() => { forgetTag(error.url); overwrite(); }}>{words.overwrite}</Button>}
          </div>
        </Stack>
      </Alert>
    );
  return (
    <Alert color="red" icon={<IconAlertTriangle />} title={retry ? words.failed : words.notDone} role="alert">
      <Stack gap="xs" align="flex-start">
        <Text size="sm">{error.message}</Text>
        {id && <Text size="xs" c="dimmed">{words.requestId}: <Code>{id}</Code></Text>}
        {retry && <Button size="xs" color="red" variant="light" leftSection={<IconRefresh size={14} />} onClick={retry}>{words.retry}</Button>}
      </Stack>
    </Alert>
  );
}

/** What a query is at: still coming, failed, or there. */
export function Loaded<T>({ query, children }: { query: UseQueryResult<T, Error>; children: (data: T) => ReactNode }) {
  const words = useWords();
  if (query.data !== undefined) return <>{children(query.data)}</>;
  if (query.error) return <Failure error={query.error} retry={() => void query.refetch()} />;
  return (
    <Stack gap="xs" role="status" aria-label={words.loading}>
      {[0, 1, 2, 3].map((i) => <Skeleton key={i} height={38} radius="sm" />)}
    </Stack>
  );
}

export function Empty({ icon, title, hint, action }: { icon: ReactNode; title: string; hint: string; action?: ReactNode }) {
  return (
    <Stack align="center" gap="xs" py={56} px="md">
      <Box c="dimmed">{icon}</Box>
      <Text fw={600}>{title}</Text>
      <Text size="sm" c="dimmed" ta="center" maw={420}>{hint}</Text>
      {action}
    </Stack>
  );
}

/** "3 minutes ago", with the exact time behind it. */
export function When({ iso }: { iso: string }) {
  const { language } = useSpeech();
  const [now, setNow] = useState(Date.now);
  useInterval(() => setNow(Date.now()), 5000, { autoInvoke: true });
  return <time dateTime={iso} title={moment(iso, language)} className="when">{relative(iso, now, language)}</time>;
}

/** The exact time, and how long ago that is: for what is looked up, not watched. */
export function Stamp({ iso }: { iso: string }) {
  const { language } = useSpeech();
  return <span className="stamp"><span className="num">{moment(iso, language)}</span> <span className="dim"><When iso={iso} /></span></span>;
}

export function StatusBadge({ status }: { status: number }) {
  return <span className="status" data-is={status >= 500 ? 'bad' : status >= 400 ? 'warn' : 'fine'}>{status}</span>;
}

/** Where something stands; nothing for what was made here. */
export function Origin({ from }: { from: string }) {
  const words = useWords();
  return from === 'api' ? null : <span className="tag">{said(words, 'origin', from)}</span>;
}
