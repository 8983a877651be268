// Signing in and out. A session is a cookie that scripts cannot read; a key is kept in memory only.
import { api, setKey, take } from './client';

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
