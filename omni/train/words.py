"""The words of nano's world, by kind; all lower case, so that what is said is spelled one way."""

ANIMALS = """
ant bat bear bee bird bull camel cat chicken cow crab crow deer dog dolphin donkey duck eagle fish fly fox frog goat
goose hen horse lamb lion lizard monkey mouse owl panda parrot penguin pig pigeon rabbit rat seal shark sheep snake
spider swan tiger turtle whale wolf worm zebra
""".split()

FOODS = """
apple banana bean bread butter cabbage cake carrot cheese cherry chocolate coffee cookie corn cream egg garlic grape
honey jam juice lemon lettuce melon milk mushroom noodle nut olive onion orange pasta peach pear pepper pie plum
potato pumpkin rice salad salt sandwich soup strawberry sugar tea tomato vinegar water yogurt
""".split()

THINGS = """
bag ball basket bed bell bench bicycle blanket boat book bottle bowl box bread bridge broom brush bucket bus button
camera candle car card carpet chain chair clock cloud coat coin comb computer cup curtain desk dish doll door drawer
dress drum engine envelope fan feather fence flag flower fork garden gate glass glove guitar hammer hat house jacket
kettle key kitchen knife ladder lamp leaf letter machine map mirror money needle nest newspaper paper park pen pencil
phone piano picture pillow pipe plane plate pocket pot purse radio ring road rocket roof room rope ruler scarf school
scissors ship shirt shoe shop skirt sock sofa spoon stamp stone street table television tent ticket tower toy train
tree truck umbrella vase wall watch wheel whistle window wire
""".split()

PEOPLE = """
actor artist baker boy brother captain child cook daughter dentist doctor driver farmer father friend girl judge king
lawyer man mother neighbor nurse painter pilot player queen sailor singer sister soldier son teacher uncle waiter
woman writer
""".split()

PLACES = """
airport bank beach bedroom castle cave church city desert farm field forest hill hospital hotel island lake library
market mountain museum office palace river sea station theater town valley village
""".split()

QUALITIES = """
angry brave bright busy calm careful cheap clever cold cool dark deep dirty dry early easy empty fair fast fat flat
free fresh full funny gentle good great happy hard heavy high honest hot kind large late lazy light little long loud
low lucky modern narrow new nice noisy old open poor proud quick quiet rich round sad safe sharp short shy sick simple
slow small smooth soft sour square strange strong sweet tall thick thin tired warm weak wet wide wild wise wrong young
""".split()

VERBS = """
answer bring build buy call carry catch clean climb close come cook count cross cry cut dance dig draw dream drink
drive drop eat fall feed feel fight find finish fly follow forget give go grow hear help hide hold hope hurry jump
keep kick kiss know laugh learn leave lift listen look lose love make meet move need open pay play pull push rain read
ride run say see sell send shout show sing sit sleep smell smile speak stand start stay stop swim take talk taste
teach tell think throw touch travel try turn use visit wait wake walk want wash watch wear win work write
""".split()

SMALL_WORDS = (
    "a an the and or but in on under over near behind with without for from to of at by my your our this that".split()
)

NUMBERS = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen nineteen
""".split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
COUNTED = [word.lower() for word in (*NUMBERS, *TENS, "hundred", *DAYS)]  # words that are heard one by one
MONTHS = "January February March April May June July August September October November December".split()

OPPOSITES = {
    "hot": "cold", "big": "small", "tall": "short", "fast": "slow", "old": "young", "rich": "poor", "happy": "sad",
    "light": "dark", "hard": "soft", "wet": "dry", "early": "late", "open": "closed", "full": "empty", "high": "low",
    "good": "bad", "loud": "quiet", "strong": "weak", "clean": "dirty", "near": "far", "up": "down", "left": "right",
    "day": "night", "black": "white", "wide": "narrow", "thick": "thin", "sweet": "sour", "first": "last",
    "easy": "difficult", "begin": "end", "love": "hate", "win": "lose", "buy": "sell", "inside": "outside",
    "before": "after", "always": "never", "brother": "sister", "king": "queen", "summer": "winter", "true": "false",
    "asleep": "awake", "heavy": "light", "push": "pull", "give": "take", "smile": "frown", "north": "south",
    "east": "west", "safe": "dangerous", "deep": "shallow", "smooth": "rough", "cheap": "expensive",
}  # fmt: skip

CAPITALS = {
    "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid", "Portugal": "Lisbon",
    "England": "London", "Ireland": "Dublin", "Scotland": "Edinburgh", "Norway": "Oslo", "Sweden": "Stockholm",
    "Finland": "Helsinki", "Denmark": "Copenhagen", "Poland": "Warsaw", "Austria": "Vienna", "Hungary": "Budapest",
    "Greece": "Athens", "Turkey": "Ankara", "Russia": "Moscow", "Egypt": "Cairo", "Kenya": "Nairobi",
    "Japan": "Tokyo", "China": "Beijing", "India": "Delhi", "Thailand": "Bangkok", "Cuba": "Havana", "Peru": "Lima",
    "Chile": "Santiago", "Canada": "Ottawa", "Belgium": "Brussels", "Iceland": "Reykjavik",
}  # fmt: skip

FACTS = {
    "How many legs does a spider have?": "Eight.",
    "How many legs does a dog have?": "Four.",
    "How many legs does a bird have?": "Two.",
    "How many legs does an ant have?": "Six.",
    "How many days are in a week?": "Seven.",
    "How many months are in a year?": "Twelve.",
    "How many hours are in a day?": "Twenty four.",
    "How many minutes are in an hour?": "Sixty.",
    "How many sides does a triangle have?": "Three.",
    "How many sides does a square have?": "Four.",
    "How many fingers are on one hand?": "Five.",
    "How many wheels does a bicycle have?": "Two.",
    "How many wheels does a car have?": "Four.",
    "What color is the sky?": "Blue.",
    "What color is grass?": "Green.",
    "What color is snow?": "White.",
    "What color is a banana?": "Yellow.",
    "What color is blood?": "Red.",
    "What do bees make?": "Honey.",
    "What do cows give us?": "Milk.",
    "What do hens lay?": "Eggs.",
    "What is frozen water called?": "Ice.",
    "What is a young dog called?": "A puppy.",
    "What is a young cat called?": "A kitten.",
    "What is a young cow called?": "A calf.",
    "What is a young sheep called?": "A lamb.",
    "Which animal barks?": "The dog.",
    "Which animal says meow?": "The cat.",
    "Which planet do we live on?": "The earth.",
    "What shines at night in the sky?": "The moon.",
    "What shines in the sky by day?": "The sun.",
    "Which season comes after winter?": "Spring.",
    "Which season comes after spring?": "Summer.",
    "Which season comes after summer?": "Autumn.",
    "Which season comes after autumn?": "Winter.",
    "Which is the largest animal?": "The whale.",
    "Which is the tallest animal?": "The giraffe.",
    "What do you use to cut paper?": "Scissors.",
    "What do you use to open a lock?": "A key.",
    "What do you wear on your feet?": "Shoes.",
    "What do you wear on your head?": "A hat.",
    "Where do fish live?": "In water.",
    "Who treats sick people?": "A doctor.",
    "Who flies a plane?": "A pilot.",
    "Who teaches children?": "A teacher.",
}

COLORS = {
    "red": (214, 39, 40), "green": (44, 160, 44), "blue": (31, 90, 220), "yellow": (240, 210, 30),
    "orange": (255, 127, 14), "purple": (140, 60, 200), "pink": (245, 130, 190), "brown": (130, 80, 45),
    "black": (20, 20, 20), "white": (250, 250, 250), "gray": (128, 128, 128),
}  # fmt: skip
SHAPES = ("circle", "square", "triangle", "star", "heart", "cross", "ring", "diamond")

CITIES = sorted({*CAPITALS.values(), "Boston", "Chicago", "Dallas", "Denver", "Geneva", "Hamburg", "Milan", "Munich",
                 "Naples", "Seattle", "Sydney", "Toronto", "Venice", "Zurich"})  # fmt: skip
ROOMS = ("kitchen", "bedroom", "bathroom", "living room", "hall", "office", "garage", "garden")


def in_words(number: int) -> str:
    """A whole number below a thousand as it is said.

    >>> in_words(7), in_words(42), in_words(300), in_words(217), in_words(-5)
    ('seven', 'forty two', 'three hundred', 'two hundred seventeen', 'minus five')
    """
    if number < 0:
        return f"minus {in_words(-number)}"
    if number < 20:
        return NUMBERS[number]
    if number < 100:
        ten, one = divmod(number, 10)
        return TENS[ten - 2] + (f" {NUMBERS[one]}" if one else "")
    if number < 1000:
        hundred, rest = divmod(number, 100)
        return f"{NUMBERS[hundred]} hundred" + (f" {in_words(rest)}" if rest else "")
    raise ValueError(f"{number} is not below a thousand")
