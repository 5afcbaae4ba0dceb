/** Texts that Whisper is known to hallucinate for silence. They are from the ends of videos on which it was trained. */
const inventions: Record<string, readonly string[]> = {
  en: [
    'you',
    'Thank you.',
    'Thank you very much.',
    'Thank you so much.',
    'Thanks for watching!',
    'Thank you for watching.',
    'Thank you for your attention.',
    'Please subscribe.',
    'Please like and subscribe.',
    'Bye.',
    'Bye bye.',
    "We'll be right back.",
    'Subtitles by the Amara.org community',
    'Transcription by CastingWords',
  ],
  de: [
    'Vielen Dank.',
    'Danke.',
    'Danke fürs Zuschauen.',
    'Vielen Dank fürs Zuschauen.',
    'Untertitel der Amara.org-Community',
    'Untertitelung des ZDF, 2020',
    'Untertitel im Auftrag des ZDF für funk, 2017',
    'Copyright WDR 2021',
    'Bis zum nächsten Mal.',
    'Tschüss.',
  ],
  fr: [
    'Merci.',
    "Merci d'avoir regardé cette vidéo !",
    'Merci à tous.',
    "Sous-titres réalisés par la communauté d'Amara.org",
    'Sous-titrage Société Radio-Canada',
    "Sous-titrage ST' 501",
  ],
  es: [
    'Gracias.',
    'Gracias por ver el video.',
    '¡Gracias por ver!',
    'Subtítulos realizados por la comunidad de Amara.org',
    'Suscríbete al canal.',
  ],
  it: [
    'Grazie.',
    'Grazie a tutti.',
    'Sottotitoli creati dalla comunità Amara.org',
    'Sottotitoli e revisione a cura di QTSS',
  ],
  pt: ['Obrigado.', 'Obrigada.', 'Legendas pela comunidade Amara.org', 'Inscreva-se no canal.'],
  nl: ['Bedankt.', 'Dank u wel.', 'Ondertitels ingediend door de Amara.org gemeenschap', 'TV GELDERLAND 2021'],
  sv: ['Tack.', 'Tack för att ni tittade.', 'Undertexter från Amara.org-gemenskapen'],
  no: ['Takk.', 'Undertekster av Ai-Media'],
  da: ['Tak.', 'Danske tekster af Nicolai Winther'],
  pl: ['Dziękuję.', 'Dziękuję za uwagę.', 'Napisy stworzone przez społeczność Amara.org'],
  cs: ['Děkuji.', 'Titulky vytvořil JohnyX'],
  ru: [
    'Спасибо.',
    'Спасибо за просмотр!',
    'Продолжение следует...',
    'Субтитры сделал DimaTorzok',
    'Редактор субтитров А.Семкин Корректор А.Егорова',
  ],
  uk: ['Дякую.', 'Дякую за перегляд!'],
  tr: ['Teşekkürler.', 'İzlediğiniz için teşekkür ederim.', 'Altyazı M.K.'],
  ja: ['ご視聴ありがとうございました', 'ありがとうございました', 'おやすみなさい', 'チャンネル登録をお願いいたします'],
  zh: [
    '谢谢',
    '谢谢大家',
    '谢谢观看',
    '請不吝點贊訂閱轉發打賞支持明鏡與點點欄目',
    '请不吝点赞 订阅 转发 打赏支持明镜与点点栏目',
    '字幕by索兰娅',
    '字幕由Amara.org社区提供',
  ],
  ko: ['감사합니다', '시청해주셔서 감사합니다', '구독과 좋아요 부탁드립니다', 'MBC 뉴스 이덕영입니다'],
  ar: ['شكرا', 'شكرا للمشاهدة', 'اشتركوا في القناة', 'ترجمة نانسي قنقر'],
};

/** Removes everything except letters and digits, and converts to lower case. */
const plain = (text: string): string =>
  text
    .normalize('NFKC')
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]+/gu, '');

/** The texts of all languages, since hallucinated text may be in another language than the detected one. */
const known = new Set(Object.values(inventions).flat().map(plain));

/** True for a known hallucination, regardless of case and punctuation. */
export function isKnownInvention(text: string): boolean {
  return known.has(plain(text));
}
