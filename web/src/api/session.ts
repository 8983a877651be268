// Signing in and out. A session is a cookie that scripts cannot read; a key is kept in memory only.
import { api, setKey, take } from './client';

/** Whether this browser had a session when it was last asked: a guess that spares waiting, and no secret. */
export const hasSession = (): boolean => localStorage.getItem('session') === 'yes';
export function noteSession(isThere: boolean): void {
  if (isThere) localStorage.setItem('session', 'yes');
  else localStorage.removeItem('session');
}

export async function signInWithPassword(name: string, password: string): Promise<void> {
  setKey('');
  await take(api.POST('/sluice/v1/session', { body: { name: name.trim(), password } }));
}

export async function signInWithKey(text: string): Promise<void> {
  setKey(text.trim());
  try {
    await take(api.GET('/sluice/v1/session'));
  } catch (e) {
    setKey('');
    throw e;
  }
}

export async function signOut(): Promise<void> {
  try {
    await take(api.DELETE('/sluice/v1/session'));
  } finally {
    setKey('');
  }
}
