// Signing in and out. A session is a cookie that scripts cannot read; a key is kept in memory only.
import { api, take, setKey } from './client';

export async function signInWithKey(text: string): Promise<void> {
  setKey(text.trim());
  try {
    await take(api.GET('/sluice/v1/info'));
  } catch (e) {
    setKey('');
    throw e;
  }
}

export async function signOut(): Promise<void> {
  setKey('');
}
