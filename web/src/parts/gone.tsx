// Where a link leads to what is there no longer, or never was.
import { Alert } from '@mantine/core';
import { useWords } from '../i18n';

export function Gone<T>({ name, among, is }: { /** as the address has it */ name: string | null | undefined; among: readonly T[] | undefined; is: (one: T, name: string) => boolean }) {
  const words = useWords();
  if (!name || !among || among.some((one) => is(one, name))) return null;
  return <Alert color="yellow" variant="light" p="xs" role="status">{words.nothingCalled} <b className="mono">{name}</b></Alert>;
}
