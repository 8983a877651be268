// A change of what a list shows, made only if the object still is what is shown. Otherwise a dialog says so, with the choice to read
// again or to overwrite.
import { Stack, Text } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import { ApiError } from '../api/client';
import { asSeen, Reread } from '../api/tags';
import { Dialog } from './dialog';
import { Failure } from './pieces';

/** Of many changes those that were refused because somebody else had changed the object. */
export class Left<T> extends ApiError {
  readonly left: T[];

  constructor(left: T[]) {
    super(412, null, '');
    this.left = left;
  }
}

/** Each in turn, a few at a time; says how many could not be changed. */
export async function each<T>(all: readonly T[], nameOf: (item: T) => string, change: (item: T) => Promise<unknown>): Promise<void> {
  const rest = [...all];
  const failed: string[] = [];
  const left: T[] = [];
  await Promise.all(Array.from({ length: 4 }, async () => {
    for (let item = rest.pop(); item !== undefined; item = rest.pop()) {
      const one = item;
      await change(one).catch((e: Error) => { if (e instanceof ApiError && e.status === 412) left.push(one); else failed.push(`${nameOf(one)}: ${e.message}`); });
    }
  }));
  if (failed.length) throw new Error(failed.slice(0, 5).join('\n') + (failed.length > 5 ? `\n+ ${failed.length - 5}` : ''));
  if (left.length) throw new Left(left);
}

interface Options<T> {
  nameOf: (item: T) => string;
  pathOf: (item: T) => string;
  change: (item: T, value: boolean) => Promise<unknown>;
  onBegin?: (item: T, value: boolean) => void;
  onDone?: () => void;
  onFail?: () => void;
}

/** `run` changes the items as they are seen; `dialog` belongs into the page. */
export function useAsSeen<T extends object>({ nameOf, pathOf, change, onBegin, onDone, onFail }: Options<T>): { run: (items: readonly T[], value: boolean) => void; isBusy: boolean; dialog: ReactNode } {
  const queries = useQueryClient();
  const mutation = useMutation({
    mutationFn: ({ items, value, isForced }: { items: readonly T[]; value: boolean; isForced: boolean }) =>
      each(items, nameOf, (item) => (isForced ? change(item, value) : asSeen(pathOf(item), item, () => change(item, value)))),
    onMutate: ({ items, value }) => { if (onBegin) items.forEach((item) => onBegin(item, value)); },
    onSuccess: onDone,
    onError: (e, { items }) => {
      onFail?.();
      if (!(e instanceof Left)) notifications.show({ title: items.map(nameOf).slice(0, 3).join(', '), message: e.message, color: 'red' });
    },
  });
  const { error, variables } = mutation;
  const reread = () => { mutation.reset(); void queries.invalidateQueries(); };
  const dialog = error instanceof Left && variables ? (
    <Dialog onClose={reread} title={error.left.length === 1 ? nameOf(error.left[0] as T) : `${error.left.length} / ${variables.items.length}`}>
      <Stack onClick={(e) => e.stopPropagation()}>
        {error.left.length > 1 && <Text size="sm" className="mono">{(error.left as T[]).slice(0, 20).map(nameOf).join(', ')}</Text>}
        <Reread value={reread}><Failure error={error} overwrite={() => mutation.mutate({ items: error.left as T[], value: variables.value, isForced: true })} /></Reread>
      </Stack>
    </Dialog>
  ) : null;
  return { run: (items, value) => { if (!mutation.isPending) mutation.mutate({ items, value, isForced: false }); }, isBusy: mutation.isPending, dialog };
}
