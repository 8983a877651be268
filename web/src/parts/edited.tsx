// Around the form of an object: a change that somebody else made meanwhile is not lost unseen.
import { Fragment, type ReactNode } from 'react';
import { Reread, useTag } from '../api/tags';

export function Edited({ path, children }: { path: string; children: ReactNode }) {
  const { turn, reread } = useTag(path);
  return <Reread value={reread}><Fragment key={turn}>{children}</Fragment></Reread>;
}

/** The same where there is no form to begin anew, as in a question whether to delete it. */
export function Tag({ path }: { path: string }) {
  useTag(path);
  return null;
}
