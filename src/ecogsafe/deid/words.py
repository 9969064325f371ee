"""Words that are also names: the lists by which the search decides how careful it must be.

A surname such as Ball or Hand is an ordinary word, an electrode label, or a part of a longer word
(``norma`` is inside ``normal``, ``hanna`` inside ``ChanNames``). Three lists tell them apart; each word is
lower-case. They only ever make a search stricter about what stands beside a name, and every use shows in
the plan.
"""

from __future__ import annotations

from functools import cache


def word_set(text: str) -> frozenset[str]:
    """Return the words of ``text``, which spaces and line ends part."""
    return frozenset(text.split())


#: Typed by staff in nearly every annotation: alone, these say nothing about *another* subject.
EVERYDAY = word_set(
    """
    a an and are arm as at awake away back bad be bed best big bit but by call can car care cold cut day
    did do door down ear eat end eye eyes face fall far few fine fit fix foot for free full get go good
    had hand hands hard has he head hear help her here high him his hit home hot hour how if in is it
    its jaw just keep know last late left leg less lie light lip list little long look lot loud low man
    may me mild mom more most move much my near neck need new next nice no nod nor not now of off old on
    one only open or out over own pain part past pause per place play point poor post put quiet read
    ready red rest right run said same say see seen set she short shot show side sit slow small so soft
    some soon speak start stop strong sub such take talk tap tell test that the them then there they
    this time to toe told too top try turn two up us use very wait wake walk was watch way we wear well
    went were what when who why wide will with woke work year yes yet you
    """
)

#: Other ordinary words, and words of montages and of EEG, that are names of people as well.
COMMON = word_set(
    """
    abbott acre alder alpha amber amp amy angel april arch archer artifact ash august autumn aux avg
    bacon bailey baker ball band bank banks barber barker barrow baseline basil bass battle bay beach
    bean bear beck bell belt bench berry beta bip bird bishop black blank blink block bloom blue board
    bolt bond bone book booth box boy brain branch bravo bridge bright brook brooks brown buck bull burn
    burns burst bush butcher butler button cable cal calibration camp cannon card cardiac carpenter
    carter case cash castle chance chandler channel chase cherry chew chin christian church circle clay
    clear cliff clip cloud coach coast coil cole cook cooper corn cotton cough court cove cox craft
    crane crisp cross crow crown ctx cz daisy dale dance dawn dean decimated delta depth detection
    device die dot dove drake draper drew duke dunn dusk earl early east ecg eddy eden edf edf+c edf+d
    edge eeg ekg elder electrode ember emg english eog epoch etco evens event ever faith falls farmer
    fay faye fern ferry field fields fish fisher flag flash fleet flint flower flowers forest foster fox
    fpz frame france frank french frost fz gain gamma garden gardener garland gary gates gene gentle
    glass glover gnd gold golden gore grace graham grand grant grass grave graves gray green grey grid
    grip ground grove hale hall ham hammer harbor hardy harm harp hart harvest hawk hay hayes hazel
    headbox heard heart heath hedge held herb hill hills hip hobbs holiday holly holmes hood hook hooker
    hope horn hose house hunt hunter hyde ida imp impedance insula iris iron ivy jack jasper jay jean
    jewel joiner jolly jordan joy judge july june justice kay keen key king kirk kitchen knight knots
    lake lamb lambda lance land lane lark laugh law lawn lead leaf lee lemon level lily limb lime line
    linen link lion lock lodge logan lord love low lowe lynn lyons major mann march mark marker marks
    marsh mason masters matt max maxim meadows mean melody mercy merit merry mic miles mill miller mills
    min mint miss mister mitten monday monitor montage montages moon moore moss mount mouth muse myers
    nail nap nash nasion natus neil nelson nerve nihon noble nod noel nolan norm normal north nose nova
    nurse oak oaks obey odds olive opal orange otter outlet owens oz page pain palmer park parker parks
    parson parsons pat patch patience patient paul pca peace peacock peak pearl penny pepper perry
    persyst petal phase pierce pike pine piper pitch pitt plank player pleth pol pole polygraph pond
    pool pope porter potter potts pound powers pratt press price prince prior proctor provost prune
    pulse pz quick quill rain ralph ramp ramsay ramsey randal rate raven ray reader reed reese ref
    reference reid resp reward rich ring river rivers road robin rock rod rode roller rome roof root
    rose roth rowe roy ruby rule rush russet sage salt sample sand sands sandy savage sawyer scott seal
    sear segment seizure self sell senior serene shade sharp shaw shepherd sheriff shields shock shore
    shoulder signal silence silver singer singh skill skinner skipper sky slack slate sleep sleeper
    smart smile smiles snore snow sommer son song south spark sparks spear spears speed spell spencer
    sphenoidal spike spikes spindle spo spring spry squire stack star stark steel steele steep sterling
    stern stim stock stokes stone storm strange street strip strong stubbs study stump summer summers
    sun sunday swan sweet sweets swift sword sync sz tab talon tan tanner taylor tech technician temple
    terry theta thick thin thorn tide till tongue torres tower towers town trace track transducer travis
    tree trigger trip troy truth tucker turner twist tyler underwood union unit vale valley van vega
    venus victor video vine viola violet vitals vogel voice wade wagner walker wall waller walls ward
    ware warm warner watchman water waters wave waves weaver webb weeks weigh welder wells west wheat
    wheeler white whittle wilder willow wills wind winter winters wise wolf wood woods word words worth
    wray wren wrist yard yates york young zone
    """
)

#: Longer words of EEG work, of the file formats and of reports: a name inside one of them needs word edges.
VOCABULARY = word_set(
    """
    abnormal abnormality absence activation activity administration admission amplitude amygdala
    annotation annotations anterior anticonvulsant arousal arousals artifact artifacts asymmetric
    asymmetry asystole attenuation auditory automatism automatisms average background bedside behavioral
    benzodiazepine bilateral bipolar bradycardia calibration carbamazepine cardiac catheter cerebellar
    cerebral channame channames channel channels chantype chewing christmas cingulate clinical clonic
    cognitive comment compress conscious consciousness contralateral convulsion convulsive coronal
    cortical craniotomy creationtime data decimated deleted department depression deprivation
    desynchronization detection diazepam diffuse digital discharge discharges disconnected discontinued
    disorder disorganized drowsiness drowsy duration dysfunction electrical electrocorticography
    electrode electrodes electroencephalogram electrographic encephalopathy epilepsy epileptic
    epileptiform episode equipment event events evoked examination excessive extratemporal eyeblink
    fentanyl filename focal frequencies frequency frontal frontopolar generalised generalized grimace
    gyrus hallucination headache hemisphere hippocampal hippocampus hospital hyperventilation hypnagogic
    ictal impedance implant implanted independent information injection inpatient insular interictal
    intermittent intracranial ipsilateral irregular lamotrigine lateral laterality lateralized
    levetiracetam leviteracetam lorazepam mapping marinol maximum medication medications mesial
    midazolam midline minimum modificationtime monitoring montage movement movements multifocal muscle
    myoclonic naming neurologist neurology neuroworks nocturnal normal occipital onset opercular
    operculum orbitofrontal orientation oriented oxcarbazepine oxygen parahippocampal parietal
    paroxysmal patient patients pattern patterns periodic persistent persyst phenobarbital phenytoin
    photic physician pneumogram polymorphic polyspike posterior postictal postoperative posture
    prefilter premotor preoperative pressure propagation propofol questions reactive reactivity reading
    recording recordings reference referential regional resection resolution respiratory response
    responsive rhythm rhythmic rhythmicity sampling saturation secondarily secondary sedation segment
    segments seizure seizures sensory sentence sentences sharply simulation simultaneous sleeping
    slowing somatosensory somnolent spasm spatial speaking speech sphenoidal spontaneous startdate
    startled stereotyped stimulation stimulator stimulus subclinical subdural suppression surgery
    symmetric symptom symptomatic synchronous syndrome tachycardia technician technologist telemetry
    temporal temporary tonic tonicclonic topiramate transducer transient transients tremor triggered
    twitching unilateral unresponsive unresponsiveness valproate verbal vertex vibration viewing visual
    vocalization wakefulness waking waveform weakness withdrawal xlevent xlspike xltek
    """
)

#: Never searched alone: particles, titles and generations of names ...
PARTICLES = word_set(
    """
    af al ap av ben bin bint da das de degli dei del della den der des di dos dr du el er fils fitz ibn
    ii iii iv jnr jr la le les los mac madame mc md miss mister mr mrs ms op phd prof san santa snr sr
    st sta ste ten ter the und van ver vom von y zu zum zur
    """
)

#: ... and what is written for "unknown".
PLACEHOLDERS = word_set(
    """
    - -- . ? anon anonymised anonymized anonymous deidentified n/a na name nobody none nul null
    undefined unknown unnamed x xx xxx xxxx
    """
)


@cache
def _searchable() -> str:
    return "\n".join(sorted(VOCABULARY | COMMON))


def is_everyday(word: str) -> bool:
    """Return whether ``word`` is one that staff type all the time."""
    return word.lower() in EVERYDAY


def is_common(word: str) -> bool:
    """Return whether ``word`` is an ordinary word, a montage word, or a word of EEG work."""
    lower = word.lower()
    return lower in EVERYDAY or lower in COMMON or lower in VOCABULARY


def is_inside_a_word(word: str) -> bool:
    """Return whether ``word`` is found within an ordinary word, as ``norma`` in ``normal``."""
    return word.lower() in _searchable()


def is_placeholder(text: str) -> bool:
    """Return whether ``text`` stands for "unknown" rather than for somebody."""
    bare = text.strip().lower()
    return not bare or bare in PLACEHOLDERS or set(bare) <= set("x0-_ ?.*,;~^/")
