// A vendor's own figures beside the ledger, by day and model: what differs, by how much and why.
import { Button, FileButton, Group, Paper, Select, Stack, Text } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { IconScale, IconUpload } from '@tabler/icons-react';
import { queryOptions, useMutation, useQuery } from '@tanstack/react-query';
import { useSearchParams } from 'wouter';
import { ApiError, api, apiUrl, credentials, take } from '../api/client';
import { lists } from '../api/lists';
import { useSpeech, useWords } from '../i18n';
import { count, money } from '../parts/format';
import { Guard } from '../parts/guard';
import { Empty, Failure, Loaded } from '../parts/pieces';
import { type Column, VTable } from '../parts/vtable';

const drifts = (provider: string) => queryOptions({
  queryKey: ['reconciliation', provider], enabled: provider !== '', queryFn: async () => (await take(api.GET('/sluice/v1/reconciliation', { params: { query: { provider } } }))).data,
});
type Drift = Awaited<ReturnType<NonNullable<ReturnType<typeof drifts>['queryFn']>>>[number];

const signed = (n: number) => (n === 0 ? '0' : `${n > 0 ? '+' : ''}${money(n)}`);

export function Reconciliation() {
  const words = useWords();
  const { language } = useSpeech();
  const [search, setSearch] = useSearchParams();
  const provider = search.get('provider') ?? '';
  const providers = useQuery(lists.providers);
  const found = useQuery(drifts(provider));
  const bring = useMutation({
    mutationFn: async (file: File) => {
      const isTable = !/^\s*[[{]/.test(await file.slice(0, 200).text());
      const answer = await fetch(new URL(`sluice/v1/reconciliation/import?provider=${encodeURIComponent(provider)}`, apiUrl), {
        method: 'POST', credentials: 'same-origin', headers: { ...credentials(), 'content-type': isTable ? 'text/csv' : 'application/json' }, body: file,
      });
      const said = await answer.json().catch(() => null) as { format?: string; rows?: number } | null;
      if (!answer.ok) throw new ApiError(answer.status, said, answer.headers.get('x-request-id') ?? '');
      return said;
    },
    onSuccess: (r) => notifications.show({ message: `${words.readIn}: ${r?.format ?? ''} · ${r?.rows ?? 0}`, color: 'teal' }),
  });
  const cause = (name: string | null) => (name === null ? words.agree : words[`drift_${name as 'price'}`] ?? name);
  const columns: Column<Drift>[] = [
    { id: 'day', head: words.day, width: '94px', cell: (d) => <span className="num">{d.day}</span> },
    { id: 'model', head: words.model, width: 'minmax(120px, 1.4fr)', cell: (d) => <span className="mono">{d.model}</span> },
    { id: 'ours', head: words.ourBooks, width: '88px', right: true, from: 560, cell: (d) => money(d.ours_nanousd) },
    { id: 'theirs', head: words.theirBooks, width: '88px', right: true, from: 560, cell: (d) => money(d.vendor_nanousd) },
    { id: 'drift', head: words.drift, width: '90px', right: true, cell: (d) => <b style={{ fontWeight: 600, color: d.drift_nanousd === 0 ? 'var(--fine)' : d.drift_nanousd > 0 ? 'var(--bad)' : 'var(--warn)' }}>{signed(d.drift_nanousd)}</b> },
    { id: 'requests', head: words.requests, width: '110px', right: true, from: 860, cell: (d) => `${count(d.ours_requests, language)} / ${count(d.vendor_requests, language)}` },
    { id: 'cause', head: words.why, width: 'minmax(130px, 2fr)', from: 440, cell: (d) => <span title={d.parts.map((p) => `${cause(p.cause)}: ${signed(p.nanousd)}`).join('\n')}>{d.parts.length === 0 ? <span className="status" data-is="fine">{words.agree}</span> : d.parts.map((p) => <span key={p.cause} className="tag">{cause(p.cause)} {signed(p.nanousd)}</span>)}</span> },
  ];
  return (
    <Stack gap="md">
      <Text size="sm" c="dimmed">{words.reconcileHint}</Text>
      <Group gap={8} align="flex-end">
        <Select size="xs" label={words.provider} placeholder={words.provider} data={providers.data?.map((p) => p.name) ?? []} value={provider || null} onChange={(p) => setSearch(p ? { provider: p } : {}, { replace: true })} searchable clearable w={{ base: '100%', xs: 220 }} />
        <FileButton accept=".json,.csv,application/json,text/csv" onChange={(f) => f && bring.mutate(f)} inputProps={{ 'aria-label': words.bringExport }}>
          {(props) => <Guard><Button {...props} size="xs" variant="default" leftSection={<IconUpload size={14} />} disabled={!provider} loading={bring.isPending}>{words.bringExport}</Button></Guard>}
        </FileButton>
      </Group>
      {bring.error && <Failure error={bring.error} />}
      {provider === '' ? <Paper withBorder><Empty icon={<IconScale size={36} />} title={words.pickProvider} hint={words.exportsHint} /></Paper> : (
        <Loaded query={found}>
          {(all) => all.length === 0 ? <Paper withBorder><Empty icon={<IconScale size={36} />} title={words.noExports} hint={words.exportsHint} /></Paper> : (
            <>
              <Paper withBorder className="tiles" component="section" aria-label={words.reconciliation}>
                <Sum name={words.ourBooks} value={money(all.reduce((s, d) => s + (d.ours_nanousd ?? 0), 0))} />
                <Sum name={words.theirBooks} value={money(all.reduce((s, d) => s + (d.vendor_nanousd ?? 0), 0))} />
                <Sum name={words.drift} value={signed(all.reduce((s, d) => s + d.drift_nanousd, 0))} />
                <Sum name={words.daysThatDiffer} value={`${all.filter((d) => d.parts.length > 0).length} / ${all.length}`} />
              </Paper>
              <Paper withBorder><VTable label={words.reconciliation} rows={all} columns={columns} rowKey={(d) => `${d.day} ${d.model}`} rowHeight={36} height="max(300px, 56vh)" /></Paper>
            </>
          )}
        </Loaded>
      )}
    </Stack>
  );
}

function Sum({ name, value }: { name: string; value: string }) {
  return <div className="tile"><div className="tile-name">{name}</div><div className="tile-value">{value}</div></div>;
}
