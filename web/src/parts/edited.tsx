// Around the form of an object: a change that somebody else made meanwhile is not lost unseen.
import { Fragment, type ReactNode } from 'react';
import { Reread, useTag } from '../api/tags';

/** `seen` is the object that the form begins with. The form comes when it is known to be what the server has. */
export function Edited({ path, seen, children }: { path: string; seen: object; children: ReactNode }) {
  const { isRead, turn, reread } = useTag(path, seen);
  return isRead && <Reread value={reread}><Fragment key={turn}>{children}</Fragment></Reread>;
}

/** The same where there is no form to begin anew, as in a question whether to delete it. */
export function Tag({ path }: { path: string }) {
  useTag(path);
  return null;
}
