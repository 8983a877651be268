// Words of the interface in the viewer's language. The choice is kept in the browser; it is no secret.
import { createContext, type ReactNode, useContext, useEffect, useMemo, useState } from 'react';
import { en, type Words } from './en';
import { zh } from './zh';
import { speakUnits } from '../parts/format';

export const languages = { en: { name: 'English', words: en as Words }, zh: { name: '中文', words: zh } };
export type Language = keyof typeof languages;
interface Speech { language: Language; words: Words; speak: (language: Language) => void }

const Context = createContext<Speech>({ language: 'en', words: en, speak: () => undefined });

function first(): Language {
  const kept = localStorage.getItem('language');
  if (kept === 'en' || kept === 'zh') return kept;
  return navigator.language.toLowerCase().startsWith('zh') ? 'zh' : 'en';
}

export function Speaking({ children }: { children: ReactNode }) {
  const [language, setLanguage] = useState<Language>(first);
  useEffect(() => {
    document.documentElement.lang = language === 'zh' ? 'zh-Hans' : 'en';
  }, [language]);
  speakUnits(language);
  const speech = useMemo<Speech>(() => ({
    language,
    words: languages[language].words,
    speak: (next) => { localStorage.setItem('language', next); setLanguage(next); },
  }), [language]);
  return <Context value={speech}>{children}</Context>;
}

export const useWords = (): Words => useContext(Context).words;
export const useSpeech = (): Speech => useContext(Context);
