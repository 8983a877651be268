// The tabs of a page in one row that may be wider than the window: the one that is chosen is in sight.
import { Tabs, type TabsListProps } from '@mantine/core';
import { useEffect, useRef } from 'react';

export function TabList({ at, ...rest }: TabsListProps & { at: string }) {
  const row = useRef<HTMLDivElement>(null);
  useEffect(() => { void row.current?.querySelector('[data-active]')?.scrollIntoView({ block: 'nearest', inline: 'nearest' }); }, [at]);
  return <Tabs.List ref={row} className="tabs-row" {...rest} />;
}
