// The part of a form that few need: closed until it is asked for, open where something in it is set.
import { Button, Collapse, Stack } from '@mantine/core';
import { IconAdjustments } from '@tabler/icons-react';
import { type ReactNode, useState } from 'react';
import { useWords } from '../i18n';

export function Advanced({ isSet, children }: { isSet: boolean; children: ReactNode }) {
  const words = useWords();
  const [isOpen, setOpen] = useState(isSet);
  return (
    <div>
      <Button variant="subtle" color="gray" size="compact-sm" leftSection={<IconAdjustments size={14} />} onClick={() => setOpen(!isOpen)} aria-expanded={isOpen}>{words.advanced}</Button>
      <Collapse expanded={isOpen}><Stack gap="sm" pt="xs">{children}</Stack></Collapse>
    </div>
  );
}
