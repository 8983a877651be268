import { Alert, Button, Center, Paper, PasswordInput, Stack, Text, Title } from '@mantine/core';
import { type FormEvent, useState } from 'react';
import { ApiError } from '../api/client';
import { signInWithKey } from '../api/session';
import { useWords } from '../i18n';

export function SignIn({ isOver, onDone }: { isOver: boolean; onDone: () => void }) {
  const words = useWords();
  const [secret, setSecret] = useState('');
  const [wrong, setWrong] = useState('');
  const [isBusy, setBusy] = useState(false);
  async function submit(event: FormEvent) {
    event.preventDefault();
    setBusy(true);
    setWrong('');
    try {
      await signInWithKey(secret);
      onDone();
    } catch (e) {
      setWrong(e instanceof ApiError && e.status === 401 ? words.wrongCredential : (e as Error).message);
    } finally {
      setBusy(false);
    }
  }
  return (
    <Center mih="100vh" p="md" component="main">
      <Paper withBorder shadow="sm" p="xl" w={400} maw="100%">
        <form onSubmit={(e) => void submit(e)}>
          <Stack>
            <Title order={1} size="h3">sluice</Title>
            <Text size="sm" c="dimmed">{words.signInHint}</Text>
            {isOver && <Alert color="yellow">{words.sessionOver}</Alert>}
            <PasswordInput label={words.adminKey} value={secret} onChange={(e) => setSecret(e.currentTarget.value)} error={wrong || undefined}
              autoComplete="current-password" autoFocus required data-autofocus />
            <Button type="submit" loading={isBusy} disabled={!secret}>{words.signIn}</Button>
          </Stack>
        </form>
      </Paper>
    </Center>
  );
}
