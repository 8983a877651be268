// What opens beside a page: with the page's API button within reach, which the page itself does not let through meanwhile.
import { Drawer } from '@mantine/core';
import { type ReactNode, useContext, useState } from 'react';
import { useWords } from '../i18n';
import { Calls, PageCalls } from './pieces';

export function Side({ opened, onClose, title, size, children }: { opened: boolean; onClose: () => void; title: ReactNode; size: string; children: ReactNode }) {
  const words = useWords();
  const calls = useContext(PageCalls);
  const [isTelling, setTelling] = useState(false); // the first Escape closes what is told, the next one this
  return (
    <Drawer.Root opened={opened} onClose={onClose} position="right" size={size} closeOnEscape={!isTelling} transitionProps={{ duration: 120, exitDuration: 0 }}>
      <Drawer.Overlay backgroundOpacity={0.25} />
      <Drawer.Content>
        <Drawer.Header>
          <Drawer.Title>{title}</Drawer.Title>
          <div className="side-acts"><Drawer.CloseButton aria-label={words.close} />{calls && <Calls calls={calls} onTurn={setTelling} />}</div>
        </Drawer.Header>
        <Drawer.Body>{children}</Drawer.Body>
      </Drawer.Content>
    </Drawer.Root>
  );
}
