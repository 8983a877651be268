// What models cost: every price by its source and version, prices of one's own, and lists that are read in after a look at what they change.
import { Autocomplete, Button, FileButton, Group, NumberInput, Paper, Select, SimpleGrid, Stack, Table, Text, TextInput } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { IconPlus, IconSearch, IconTag, IconUpload } from '@tabler/icons-react';
import { queryOptions, useMutation, useQuery } from '@tanstack/react-query';
import { useMemo, useState } from 'react';
import { useSearchParams } from 'wouter';
import { ApiError, api, apiUrl, credentials, take } from '../api/client';
import { lists, query, whole } from '../api/lists';
import type { paths } from '../api/schema';
import { useSpeech, useWords } from '../i18n';
import { Dialog } from '../parts/dialog';
import { Confirm } from '../parts/dialogs';
import { count, moment, rate } from '../parts/format';
import { Guard } from '../parts/guard';
import { Empty, Failure, Loaded, Origin } from '../parts/pieces';
import { type Column, VTable } from '../parts/vtable';

type Price = paths['/sluice/v1/prices']['get']['responses']['200']['content']['application/json']['data'][number];
type Brought = paths['/sluice/v1/prices/import']['post']['responses']['200']['content']['application/json'];

const prices = queryOptions({ queryKey: ['prices'], queryFn: () => whole((after) => take(api.GET('/sluice/v1/prices', query(after)))) });
const sources = ['override', 'provider', 'list', 'shipped'] as const;
const parts = ['input', 'cache_read', 'cache_write', 'output', 'reasoning', 'audio_in', 'audio_out', 'image', 'search', 'request'] as const;
type Entry = Record<string, unknown>;
const shown = 200;

export function Prices() {
  const words = useWords();
  const { language } = useSpeech();
  const [search, setSearch] = useSearchParams();
  const [text, setText] = useState(search.get('q') ?? '');
  const [changed, setChanged] = useState<Price | null>(null);
  const edited = search.has('new') ? 'new' : changed;
  const setEdited = (p: Price | 'new' | null) => { setChanged(p === 'new' ? null : p); if (p === 'new' || search.has('new')) setSearch(p === 'new' ? { new: '' } : {}, { replace: true }); };
  const isBringing = search.has('bring');
  const setBringing = (is: boolean) => setSearch(is ? { bring: '' } : {}, { replace: true });
  const all = useQuery(prices);
  const source = search.get('source');
  const wanted = text.trim().toLowerCase();
  const rows = useMemo(() => (all.data ?? []).filter((p) => (!source || p.source === source) && p.name.toLowerCase().includes(wanted)), [all.data, source, wanted]);
  const columns = useMemo<Column<Price>[]>(() => [
    { id: 'model', head: words.model, width: 'minmax(110px, 2fr)', cell: (p) => <><span className="mono" title={`${p.provider}/${p.model}`}>{p.provider}/{p.model}</span> {p.origin === 'file' && <Origin from="file" />}</> },
    { id: 'source', head: words.source, width: 'minmax(90px, 1fr)', from: 420, cell: (p) => words[`source_${p.source as 'list'}`] },
    { id: 'input', head: words.input, width: 'minmax(64px, 86px)', right: true, cell: (p) => rate(p.input_nanousd) },
    { id: 'output', head: words.output, width: 'minmax(64px, 86px)', right: true, cell: (p) => rate(p.output_nanousd) },
    { id: 'from', head: words.validFrom, width: 'minmax(110px, 150px)', from: 640, cell: (p) => (p.valid_from ? <span className="status" data-is={p.in_force ? 'fine' : 'warn'} title={moment(p.valid_from, language)}>{moment(p.valid_from, language)}</span> : <span className="dim">{words.always}</span>) },
    { id: 'version', head: words.version, width: 'minmax(90px, 150px)', from: 900, cell: (p) => <span className="mono dim">{p.version}</span> },
    { id: 'note', head: words.note, width: 'minmax(90px, 1.4fr)', from: 1080, cell: (p) => <span className="dim" title={p.note ?? ''}>{p.note}</span> },
  ], [words, language]);
  return (
    <Stack gap="sm">
      <Text size="sm" c="dimmed">{words.pricesHint}</Text>
      <Group gap={8}>
        <TextInput size="xs" placeholder={words.search} aria-label={words.search} leftSection={<IconSearch size={14} />} value={text} onChange={(e) => setText(e.currentTarget.value)} w={{ base: '100%', xs: 220 }} />
        <Select size="xs" aria-label={words.source} placeholder={words.source} clearable value={source} onChange={(s) => setSearch(s ? { source: s } : {}, { replace: true })} data={sources.map((s) => ({ value: s, label: words[`source_${s}`] }))} w={{ base: '48%', xs: 190 }} />
        <Text size="sm" c="dimmed">{count(rows.length, language)} {words.results}</Text>
        <Group gap={8} ml="auto">
          <Guard><Button size="xs" variant="default" leftSection={<IconUpload size={14} />} onClick={() => setBringing(true)}>{words.bringPrices}</Button></Guard>
          <Guard><Button size="xs" leftSection={<IconPlus size={14} />} onClick={() => setEdited('new')}>{words.addPrice}</Button></Guard>
        </Group>
      </Group>
      <Loaded query={all}>
        {() => rows.length === 0 ? <Paper withBorder><Empty icon={<IconTag size={36} />} title={words.noMatch} hint="" /></Paper>
          : <Paper withBorder><VTable label={words.prices} rows={rows} columns={columns} rowKey={(p) => p.id} rowHeight={36} height="max(380px, calc(100dvh - 260px))" onOpen={setEdited} /></Paper>}
      </Loaded>
      {edited && <PriceForm key={edited === 'new' ? '' : edited.id} p={edited === 'new' ? null : edited} known={all.data ?? []} onClose={() => setEdited(null)} />}
      {isBringing && <Bring onClose={() => setBringing(false)} />}
    </Stack>
  );
}

const later = (a: Price, b: Price) => (b.valid_from ?? '').localeCompare(a.valid_from ?? '');
const usd = (nanousd: number | null | undefined) => (nanousd === null || nanousd === undefined ? null : nanousd);

/** Before and after, where they differ. */
function Differs({ before, after }: { before: number | null | undefined; after: number | null | undefined }) {
  if (usd(before) === usd(after)) return <>{rate(after)}</>;
  return <><del className="dim">{rate(before)}</del> → <b style={{ color: (after ?? 0) > (before ?? 0) ? 'var(--bad)' : 'var(--fine)' }}>{rate(after)}</b></>;
}

/** A price of one's own. Those that begin later stand beside the one that holds now. */
function PriceForm({ p, known, onClose }: { p: Price | null; known: readonly Price[]; onClose: () => void }) {
  const words = useWords();
  const { language } = useSpeech();
  const providers = useQuery(lists.providers);
  const kinds = useQuery(lists.kinds);
  const start = (p?.price ?? {}) as Entry;
  const [provider, setProvider] = useState(p?.provider ?? '');
  const [model, setModel] = useState(p?.model ?? '');
  const [values, setValues] = useState<Record<string, number | string>>(() => Object.fromEntries(parts.map((k) => [k, (start[k] ?? (k === 'cache_write' ? start.cache_write_5m : undefined) ?? '') as number | string])));
  const [from, setFrom] = useState('');
  const [note, setNote] = useState('');
  const [isDoomed, setDoomed] = useState(false);
  const own = known.filter((k) => k.source === 'override' && k.provider === provider.trim() && k.model === model.trim()).sort(later); // newest first
  const now = (sources.map((s) => known.filter((k) => k.source === s && k.provider === provider.trim() && k.model === model.trim() && k.in_force).sort(later)[0]).find(Boolean));
  const rest = Object.fromEntries(Object.entries(start).filter(([k]) => !(parts as readonly string[]).includes(k) && k !== 'cache_write_5m' && k !== 'valid_from' && k !== 'note'));
  const entry: Entry = {
    ...rest, ...Object.fromEntries(parts.filter((k) => typeof values[k] === 'number').map((k) => [k === 'cache_write' ? 'cache_write_5m' : k, values[k]])),
    ...(from && { valid_from: new Date(from).toISOString() }), ...(note && { note }),
  };
  const save = useMutation({
    mutationFn: () => {
      // one that begins later is put beside those that there are; one that holds at once takes the place of the one that does
      const others = own.filter((k) => (from ? k.valid_from !== entry.valid_from : k.valid_from !== null)).map((k) => k.price as Entry);
      return take(api.POST('/sluice/v1/prices', { body: { provider: provider.trim(), model: model.trim(), price: (others.length ? [...others, entry] : entry) as never } }));
    },
    onSuccess: () => { notifications.show({ message: `${words.saved}: ${provider}/${model}`, color: 'teal' }); onClose(); },
  });
  const drop = useMutation({ mutationFn: () => take(api.DELETE('/sluice/v1/prices', { params: { query: { provider: provider.trim(), model: model.trim() } } })), onSuccess: () => { setDoomed(false); onClose(); } });
  const nano = (k: string) => (typeof values[k] === 'number' ? Math.round(Number(values[k]) * 1e9) : null);
  return (
    <Dialog onClose={onClose} title={p ? `${p.provider}/${p.model}` : words.addPrice} size="lg">
      <Guard isForm><form onSubmit={(e) => { e.preventDefault(); save.mutate(); }}>
        <Stack>
          {p && <Text size="sm" c="dimmed">{words[`source_${p.source as 'list'}`]}{p.note && ` · ${p.note}`} · {words.version} <span className="mono">{p.version}</span></Text>}
          <Group grow align="flex-start">
            <Autocomplete label={words.provider} description={words.priceProviderHint} value={provider} onChange={setProvider} data={[...new Set([...(providers.data ?? []).map((x) => x.name), ...(kinds.data ?? []).map((x) => x.id), '*'])]} limit={30} required disabled={p?.source === 'override'} />
            <TextInput label={words.upstreamModel} description={words.priceModelHint} value={model} onChange={(e) => setModel(e.currentTarget.value)} required disabled={p?.source === 'override'} classNames={{ input: 'mono' }} />
          </Group>
          <SimpleGrid cols={{ base: 2, xs: 5 }} spacing="xs">
            {parts.map((k) => <NumberInput key={k} size="xs" label={<span className="mono">{k}</span>} aria-label={k} value={values[k] ?? ''} onChange={(v) => setValues({ ...values, [k]: v })} min={0} decimalScale={9} hideControls prefix="$" />)}
          </SimpleGrid>
          <Text size="xs" c="dimmed">{words.priceUnits}{Object.keys(rest).length > 0 && <> {words.keptMembers} <span className="mono">{Object.keys(rest).join(', ')}</span></>}</Text>
          <Group grow align="flex-start">
            <TextInput type="datetime-local" label={words.validFrom} description={words.validFromHint} value={from} onChange={(e) => setFrom(e.currentTarget.value)} />
            <TextInput label={words.note} description={words.noteHint} value={note} onChange={(e) => setNote(e.currentTarget.value)} />
          </Group>
          {own.length > 0 && (
            <div>
              <Text size="sm" fw={500} mb={4}>{words.ownVersions}</Text>
              <ul className="changes" style={{ padding: 0 }}>{own.map((k) => <li key={k.id}><span className="changes-what">{k.valid_from ? moment(k.valid_from, language) : words.always}{k.in_force && k.id === own.find((x) => x.in_force)?.id && <span className="tag" style={{ marginLeft: 6 }}>{words.current}</span>}</span><span className="num">{rate(k.input_nanousd)} / {rate(k.output_nanousd)}</span></li>)}</ul>
            </div>
          )}
          {provider && model && typeof values.input === 'number' && typeof values.output === 'number' && (
            <Text size="sm" role="status"><b>{words.thisChanges}</b> {words.input} <Differs before={now?.input_nanousd} after={nano('input')} />, {words.output} <Differs before={now?.output_nanousd} after={nano('output')} /> <span className="dim">$ / M {words.tokens}{from && ` · ${words.validFrom} ${moment(new Date(from).toISOString(), language)}`}</span></Text>
          )}
          {save.error && <Failure error={save.error} />}
          <Group justify="space-between">
            {own.length > 0 ? <Button variant="subtle" color="red" onClick={() => setDoomed(true)}>{words.dropPrice}</Button> : <span />}
            <Group gap="xs"><Button variant="default" onClick={onClose}>{words.cancel}</Button><Button type="submit" loading={save.isPending} disabled={!provider.trim() || !model.trim() || (parts.every((k) => typeof values[k] !== 'number') && Object.keys(rest).length === 0)}>{words.save}</Button></Group>
          </Group>
        </Stack>
      </form></Guard>
      <Confirm title={words.dropPrice} word={words.dropPrice} opened={isDoomed} busy={drop.isPending} error={drop.error} onClose={() => setDoomed(false)} onDo={() => drop.mutate()}>
        <Text size="sm"><span className="mono">{provider}/{model}</span>: {words.dropPriceHint}</Text>
      </Confirm>
    </Dialog>
  );
}

/** A list is looked at first, then read in. */
function Bring({ onClose }: { onClose: () => void }) {
  const words = useWords();
  const { language } = useSpeech();
  const providers = useQuery(lists.providers);
  const [file, setFile] = useState<File | null>(null);
  const [provider, setProvider] = useState<string | null>(null);
  const [from, setFrom] = useState('');
  const [note, setNote] = useState('');
  const send = async (isTry: boolean): Promise<Brought> => {
    const asked = new URLSearchParams({ ...(provider && { provider }), ...(from && { valid_from: new Date(from).toISOString() }), note: note || (file?.name ?? ''), ...(isTry && { dry_run: 'true' }) });
    const answer = await fetch(new URL(`sluice/v1/prices/import?${asked}`, apiUrl), { method: 'POST', credentials: 'same-origin', headers: { ...credentials(), 'content-type': 'application/json' }, body: file });
    const said = await answer.json().catch(() => null) as unknown;
    if (!answer.ok) throw new ApiError(answer.status, said, answer.headers.get('x-request-id') ?? '');
    return said as Brought;
  };
  const tried = useQuery({ queryKey: ['prices', 'try', file?.name, file?.lastModified, file?.size, provider, from], enabled: file !== null, retry: false, gcTime: 0, staleTime: Infinity, queryFn: () => send(true) });
  const bring = useMutation({ mutationFn: () => send(false), onSuccess: (r) => { notifications.show({ message: `${words.readIn}: ${r.format} · ${r.added}`, color: 'teal' }); onClose(); } });
  const t = tried.data;
  return (
    <Dialog onClose={onClose} title={words.bringPrices} size="xl">
      <Stack>
        <Text size="sm" c="dimmed">{words.bringPricesHint}</Text>
        <Group align="flex-end" gap="xs">
          <FileButton accept=".json,application/json" onChange={setFile} inputProps={{ 'aria-label': words.file }}>{(props) => <Button {...props} size="sm" variant="default" leftSection={<IconUpload size={14} />}>{file?.name ?? words.chooseFile}</Button>}</FileButton>
          <Select label={words.listOf} placeholder={words.generalList} clearable searchable data={providers.data?.map((p) => p.name) ?? []} value={provider} onChange={setProvider} w={{ base: '100%', xs: 190 }} />
          <TextInput type="datetime-local" label={words.validFrom} value={from} onChange={(e) => setFrom(e.currentTarget.value)} />
          <TextInput label={words.note} placeholder={file?.name ?? ''} value={note} onChange={(e) => setNote(e.currentTarget.value)} />
        </Group>
        {file && (
          <Loaded query={tried}>
            {(r) => (
              <Stack gap="xs">
                <Text size="sm" role="status"><b>{r.format}</b>: {count(r.rows, language)} {words.priceRows}, {count(r.added, language)} {words.differFromKnown}{r.skipped.length > 0 && `, ${count(r.skipped.length, language)} ${words.skippedOnes}`}</Text>
                {r.changes.length > 0 && (
                  <div className="vt" style={{ maxHeight: '42vh' }} tabIndex={0} role="region" aria-label={words.thisChanges}>
                    <Table fz="sm" verticalSpacing={4} stickyHeader>
                      <Table.Thead><Table.Tr><Table.Th>{words.model}</Table.Th><Table.Th ta="right">{words.input}</Table.Th><Table.Th ta="right">{words.output}</Table.Th></Table.Tr></Table.Thead>
                      <Table.Tbody>{r.changes.slice(0, shown).map((c) => <Table.Tr key={`${c.provider}/${c.model}`}><Table.Td><span className="mono">{c.provider}/{c.model}</span></Table.Td><Table.Td ta="right" className="num"><Differs before={c.input_was_nanousd} after={c.input_nanousd} /></Table.Td><Table.Td ta="right" className="num"><Differs before={c.output_was_nanousd} after={c.output_nanousd} /></Table.Td></Table.Tr>)}</Table.Tbody>
                    </Table>
                    {r.added > shown && <Text size="xs" c="dimmed" p="xs">+ {count(r.added - shown, language)}</Text>}
                  </div>
                )}
                {r.skipped.length > 0 && <details><summary>{words.skippedOnes}</summary><ul className="lines">{r.skipped.slice(0, shown).map((x) => <li key={x.model + x.why}>{x.model}: {x.why}</li>)}</ul></details>}
              </Stack>
            )}
          </Loaded>
        )}
        {bring.error && <Failure error={bring.error} />}
        <Group justify="flex-end" gap="xs"><Button variant="default" onClick={onClose}>{words.cancel}</Button><Guard><Button loading={bring.isPending} disabled={!t || t.added === 0} onClick={() => bring.mutate()}>{words.bringThem}</Button></Guard></Group>
      </Stack>
    </Dialog>
  );
}
