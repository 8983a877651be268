// The pages in the order of the sidebar; each but the first comes as a file of its own when it is first opened.
import {
  IconArrowsSplit2, IconBuildingCommunity, IconBuildingWarehouse, IconCoin, IconGauge, IconKey, IconListDetails, IconMessages, IconSettings, IconStack2,
} from '@tabler/icons-react';
import type { ComponentType } from 'react';
import type { Words } from './i18n/en';
import Overview from './pages/overview';
import { late } from './parts/late';

export const groups = ['top', 'serving', 'access', 'server'] as const;
interface Place { path: string; word: keyof Words; icon: ComponentType<{ size?: number }>; page: ComponentType; group: (typeof groups)[number] }

export const places: Place[] = [
  { path: '/', group: 'top', word: 'dashboard', icon: IconGauge, page: Overview },
  { path: '/requests', group: 'top', word: 'requests', icon: IconListDetails, page: late(() => import('./pages/requests')) },
  { path: '/playground', group: 'top', word: 'playground', icon: IconMessages, page: late(() => import('./pages/playground')) },
  { path: '/models', group: 'serving', word: 'models', icon: IconStack2, page: late(() => import('./pages/models')) },
  { path: '/providers', group: 'serving', word: 'providers', icon: IconBuildingWarehouse, page: late(() => import('./pages/providers')) },
  { path: '/routing', group: 'serving', word: 'routing', icon: IconArrowsSplit2, page: late(() => import('./pages/routing')) },
  { path: '/keys', group: 'access', word: 'keys', icon: IconKey, page: late(() => import('./pages/keys')) },
  { path: '/orgs', group: 'access', word: 'orgsAndUsers', icon: IconBuildingCommunity, page: late(() => import('./pages/orgs')) },
  { path: '/cost', group: 'access', word: 'costs', icon: IconCoin, page: late(() => import('./pages/cost')) },
  { path: '/settings', group: 'server', word: 'settings', icon: IconSettings, page: late(() => import('./pages/settings')) },
];
