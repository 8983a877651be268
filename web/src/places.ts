// The pages in the order of the sidebar; each comes as a file of its own when it is first opened.
import {
  IconArrowsSplit2, IconBuildingWarehouse, IconCoin, IconGauge, IconKey, IconListDetails, IconMessages, IconSettings, IconStack2,
} from '@tabler/icons-react';
import { type ComponentType, lazy } from 'react';
import type { Words } from './i18n/en';

export const groups = ['top', 'serving', 'access', 'server'] as const;
interface Place { path: string; word: keyof Words; icon: ComponentType<{ size?: number }>; page: ComponentType; group: (typeof groups)[number] }

export const places: Place[] = [
  { path: '/', group: 'top', word: 'dashboard', icon: IconGauge, page: lazy(() => import('./pages/overview')) },
  { path: '/requests', group: 'top', word: 'requests', icon: IconListDetails, page: lazy(() => import('./pages/requests')) },
  { path: '/playground', group: 'top', word: 'playground', icon: IconMessages, page: lazy(() => import('./pages/playground')) },
  { path: '/models', group: 'serving', word: 'models', icon: IconStack2, page: lazy(() => import('./pages/models')) },
  { path: '/providers', group: 'serving', word: 'providers', icon: IconBuildingWarehouse, page: lazy(() => import('./pages/providers')) },
  { path: '/routing', group: 'serving', word: 'routing', icon: IconArrowsSplit2, page: lazy(() => import('./pages/routing')) },
  { path: '/keys', group: 'access', word: 'keys', icon: IconKey, page: lazy(() => import('./pages/keys')) },
  { path: '/cost', group: 'access', word: 'costs', icon: IconCoin, page: lazy(() => import('./pages/cost')) },
  { path: '/settings', group: 'server', word: 'settings', icon: IconSettings, page: lazy(() => import('./pages/settings')) },
];
