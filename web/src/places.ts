// The pages in the order of the sidebar; each comes as a file of its own when it is first opened.
import {
  IconBuildingWarehouse, IconGauge, IconKey, IconListDetails, IconMessages, IconSettings, IconStack2,
} from '@tabler/icons-react';
import { type ComponentType, lazy } from 'react';
import type { Words } from './i18n/en';

interface Place { path: string; word: keyof Words; icon: ComponentType<{ size?: number }>; page: ComponentType }

export const places: Place[] = [
  { path: '/', word: 'dashboard', icon: IconGauge, page: lazy(() => import('./pages/overview')) },
  { path: '/requests', word: 'requests', icon: IconListDetails, page: lazy(() => import('./pages/requests')) },
  { path: '/models', word: 'models', icon: IconStack2, page: lazy(() => import('./pages/models')) },
  { path: '/providers', word: 'providers', icon: IconBuildingWarehouse, page: lazy(() => import('./pages/providers')) },
  { path: '/keys', word: 'keys', icon: IconKey, page: lazy(() => import('./pages/keys')) },
  { path: '/playground', word: 'playground', icon: IconMessages, page: lazy(() => import('./pages/playground')) },
  { path: '/settings', word: 'settings', icon: IconSettings, page: lazy(() => import('./pages/settings')) },
];
