// What only some roles may: shown to the others, but out of use, with the reason.
import { Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import { entry } from '../api/entry';
import { useWords } from '../i18n';
import { said } from './format';

const roles = ['viewer', 'member', 'admin', 'owner'];
export type Role = 'member' | 'admin' | 'owner';

export function useMay(role: Role): boolean {
  const mine = useQuery(entry).data?.who?.role;
  return mine === undefined || roles.indexOf(mine) >= roles.indexOf(role);
}

/** Buttons, switches and fields within are out of use for whoever may not use them; `isForm` says so above them, too. */
export function Guard({ role = 'admin', isForm = false, children }: { role?: Role; isForm?: boolean; children: ReactNode }) {
  const words = useWords();
  const may = useMay(role);
  const why = `${words.takesRole} ${said(words, 'name', role)}`;
  return (
    <fieldset className="guard" disabled={!may} title={may ? undefined : why}>
      {isForm && !may && <Text size="sm" c="dimmed" mb="sm" role="note">{why}</Text>}
      {children}
    </fieldset>
  );
}
