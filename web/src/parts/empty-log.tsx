// Empties the request log. Figures, costs and the ledger stay.
import { ActionIcon, Text } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { IconTrash } from '@tabler/icons-react';
import { useMutation } from '@tanstack/react-query';
import { useState } from 'react';
import { api, take } from '../api/client';
import { useWords } from '../i18n';
import { Confirm } from './dialogs';
import { Guard } from './guard';

export function EmptyLog({ onDone }: { onDone: () => void }) {
  const words = useWords();
  const [isSure, setSure] = useState(false);
  const clear = useMutation({
    mutationFn: () => take(api.DELETE('/sluice/v1/requests')),
    onSuccess: () => { setSure(false); notifications.show({ message: words.logEmptied, color: 'teal' }); onDone(); },
  });
  return (
    <>
      <Guard><ActionIcon variant="default" size={30} onClick={() => setSure(true)} aria-label={words.emptyLog} title={words.emptyLog}><IconTrash size={15} /></ActionIcon></Guard>
      <Confirm title={words.emptyLogSure} opened={isSure} busy={clear.isPending} error={clear.error} onClose={() => { setSure(false); clear.reset(); }} onDo={() => clear.mutate()} word={words.emptyLog}>
        <Text size="sm">{words.emptyLogHint}</Text>
      </Confirm>
    </>
  );
}
