// Copies of the store: made now, listed, and what was configured then brought back.
import { Button, Group, Paper, Stack, Table, Text } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { IconArchive, IconDatabaseExport } from '@tabler/icons-react';
import { queryOptions, useMutation, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { api, take } from '../api/client';
import { useWords } from '../i18n';
import { Confirm } from '../parts/dialogs';
import { size } from '../parts/format';
import { Grid } from '../parts/grid';
import { Guard } from '../parts/guard';
import { Empty, Failure, Loaded, Stamp, When } from '../parts/pieces';

const backups = queryOptions({ queryKey: ['backups'], queryFn: async () => (await take(api.GET('/api/db-backups'))).backups });
const storage = queryOptions({ queryKey: ['storage'], queryFn: () => take(api.GET('/api/storage/health')) });

export function Backups() {
  const words = useWords();
  const store = useQuery(storage);
  const [chosen, setChosen] = useState<{ id: string; createdAt: string } | null>(null);
  const make = useMutation({
    mutationFn: () => take(api.PUT('/api/db-backups')),
    onSuccess: (b) => notifications.show({ message: `${words.backupMade}: ${b.filename ?? ''}`, color: 'teal' }),
  });
  const restore = useMutation({
    mutationFn: (id: string) => take(api.POST('/api/db-backups', { body: { backupId: id } })),
    onSuccess: () => { setChosen(null); notifications.show({ message: words.restored, color: 'teal' }); },
  });
  const made = useQuery(backups);
  const add = <Guard><Button size="xs" leftSection={<IconDatabaseExport size={14} />} loading={make.isPending} onClick={() => make.mutate()}>{words.makeBackup}</Button></Guard>;
  return (
    <Stack gap="sm">
      <Group justify="space-between"><Text size="sm" c="dimmed" flex={1} miw={220}>{words.backupHint}</Text>{made.data?.length !== 0 && add}</Group>
      {make.error && <Failure error={make.error} />}
      {store.data && (
        <Paper withBorder className="tiles" component="section" aria-label={words.store}>
          <div className="tile"><div className="tile-name">{words.store}</div><div className="tile-value">{size(store.data.sizeBytes)}</div><div className="tile-note mono">{store.data.dbPath}</div></div>
          <div className="tile"><div className="tile-name">{words.lastBackup}</div><div className="tile-value">{store.data.lastBackupAt ? <When iso={store.data.lastBackupAt} /> : '–'}</div><div className="tile-note">{store.data.backupCount} {words.copies}</div></div>
        </Paper>
      )}
      <Loaded query={made}>
        {(all) => all.length === 0 ? <Paper withBorder><Empty icon={<IconArchive size={36} />} title={words.noBackups} hint={words.noBackupsHint} action={add} /></Paper> : (
          <Grid head={[words.created, words.file, words.why, { right: words.sizes }, { right: words.providers }, '']}>
            {all.map((b) => (
              <Table.Tr key={b.id}>
                <Table.Td><Stamp iso={b.createdAt} /></Table.Td><Table.Td><span className="mono">{b.filename}</span></Table.Td><Table.Td>{b.reason === 'manual' ? words.byHand : b.reason === 'pre-restore' ? words.beforeRestore : b.reason}</Table.Td>
                <Table.Td ta="right" className="num">{size(b.size)}</Table.Td><Table.Td ta="right" className="num">{b.connectionCount}</Table.Td>
                <Table.Td ta="right"><Guard><Button size="compact-xs" variant="default" onClick={() => setChosen(b)} aria-label={`${words.restore} ${b.filename}`}>{words.restore}</Button></Guard></Table.Td>
              </Table.Tr>
            ))}
          </Grid>
        )}
      </Loaded>
      <Confirm title={words.restoreThis} opened={chosen !== null} busy={restore.isPending} error={restore.error} onClose={() => setChosen(null)} onDo={() => chosen && restore.mutate(chosen.id)} word={words.restore}>
        <Text>{words.restoreHint}</Text>
        {chosen && <Text size="sm" c="dimmed"><When iso={chosen.createdAt} /> · <span className="mono">{chosen.id}</span></Text>}
      </Confirm>
    </Stack>
  );
}
