// Who is it? By password, which makes a session, or by a key that stays in memory.
import { Alert, Button, Center, Paper, PasswordInput, SegmentedControl, Stack, Text, TextInput, Title } from '@mantine/core';
import { type FormEvent, useState } from 'react';
import { ApiError } from '../api/client';
import { signInWithKey, signInWithPassword } from '../api/session';
import { useWords } from '../i18n';

export default function SignIn({ isOver, onDone }: { isOver: boolean; onDone: () => void }) {
  const words = useWords();
  const [way, setWay] = useState('password');
  const [name, setName] = useState('admin');
  const [secret, setSecret] = useState('');
  const [wrong, setWrong] = useState('');
  const [isBusy, setBusy] = useState(false);
  const isKey = way === 'key';
  async function submit(event: FormEvent) {
    event.preventDefault();
    setBusy(true);
    setWrong('');
    try {
      await (isKey ? signInWithKey(secret) : signInWithPassword(name, secret));
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
            {isOver && <Alert color="yellow">{words.sessionOver}</Alert>}
            <SegmentedControl value={way} onChange={(w) => { setWay(w); setWrong(''); setSecret(''); }} aria-label={words.signIn}
              data={[{ value: 'password', label: words.password }, { value: 'key', label: words.adminKey }]} />
            {!isKey && <TextInput label={words.name} value={name} onChange={(e) => setName(e.currentTarget.value)} autoComplete="username" required />}
            <PasswordInput key={way} label={isKey ? words.adminKey : words.password} value={secret} onChange={(e) => setSecret(e.currentTarget.value)}
              error={wrong || undefined} autoComplete={isKey ? 'off' : 'current-password'} autoFocus required />
            <Button type="submit" loading={isBusy} disabled={!secret}>{words.signIn}</Button>
            <Text size="xs" c="dimmed">{isKey ? words.signInKeyHint : words.signInHow}</Text>
          </Stack>
        </form>
      </Paper>
    </Center>
  );
}
