"""Every number of world 1 in one place; `docs/simulate.md` says where each comes from. Frozen: a change is world 2."""

from typing import NamedTuple

WORLD_VERSION = 1


class Place(NamedTuple):
    """Where users live: what decides their hours, their language, their phone and their purse."""

    country: str
    zone: str
    language: str
    share: float
    ios_share: float
    power: float  # purchasing power, United States = 1
    cpi: float  # price of an install, mean of all places about 1


PLACES = (
    Place("US", "America/New_York", "en", 0.16, 0.55, 1.00, 1.60),
    Place("US", "America/Chicago", "en", 0.07, 0.52, 0.95, 1.50),
    Place("US", "America/Los_Angeles", "en", 0.09, 0.60, 1.05, 1.70),
    Place("BR", "America/Sao_Paulo", "pt", 0.12, 0.18, 0.40, 0.35),
    Place("MX", "America/Mexico_City", "es", 0.07, 0.24, 0.45, 0.40),
    Place("GB", "Europe/London", "en", 0.08, 0.50, 0.95, 1.30),
    Place("DE", "Europe/Berlin", "de", 0.08, 0.38, 0.95, 1.20),
    Place("IN", "Asia/Kolkata", "en", 0.16, 0.05, 0.25, 0.18),
    Place("JP", "Asia/Tokyo", "ja", 0.08, 0.60, 1.10, 1.50),
    Place("ID", "Asia/Jakarta", "id", 0.09, 0.12, 0.30, 0.22),
)
IOS, ANDROID = 0, 1
SYSTEMS = ("ios", "android")
SYSTEM_CPI = (1.35, 0.80)
DEVICES = (("iphone_se", "iphone_14", "iphone_16_pro"), ("galaxy_a15", "pixel_8", "galaxy_s24"))
VERSIONS = (("17", "18", "19"), ("13", "14", "15"))
AGES = ("18-24", "25-34", "35-44", "45-54", "55+", "unknown")
AGE_SHARES = (0.24, 0.29, 0.19, 0.11, 0.07, 0.10)
OPT_IN = (0.56, 0.67)  # iOS, Android
TEST_SHARE = 0.002
MOVE_SHARE = 0.015

# Latent kinds of people: tourists look around, grazers come and go, settlers form a habit, fans live in the app.
KINDS = ("tourist", "grazer", "settler", "fan")


class Channel(NamedTuple):
    """How users come: its share of installs, whom it brings, and its campaigns (share, price of an install in USD)."""

    name: str
    share: float
    kinds: tuple[float, float, float, float]
    payer_lift: float
    push_lift: float
    campaigns: tuple[tuple[str, float, float], ...]


CHANNELS = (
    Channel("organic", 0.38, (0.47, 0.28, 0.165, 0.085), 1.05, 0.10, (("organic", 1.0, 0.0),)),
    Channel("search_ads", 0.16, (0.47, 0.28, 0.165, 0.085), 1.25, 0.05, (("brand", 0.4, 1.60), ("generic", 0.6, 2.90))),
    Channel(
        "social_video",
        0.20,
        (0.58, 0.26, 0.11, 0.05),
        0.90,
        -0.05,
        (("broad", 0.55, 2.20), ("lookalike", 0.35, 3.40), ("creative_test", 0.10, 2.80)),
    ),
    Channel("rewarded_network", 0.14, (0.75, 0.18, 0.05, 0.02), 0.45, -0.35, (("offerwall", 1.0, 0.55),)),
    Channel("influencer", 0.05, (0.45, 0.25, 0.18, 0.12), 1.15, 0.20, (("spring", 0.5, 3.60), ("creators", 0.5, 4.40))),
    Channel("referral", 0.07, (0.38, 0.29, 0.21, 0.12), 1.30, 0.25, (("invite", 1.0, 1.20),)),
)
CAMPAIGNS = tuple((c.name, name, share, price) for c in CHANNELS for name, share, price in c.campaigns)
BURST_CHANNEL = 2  # social_video: on burst days it brings three times its share

# Engagement levels of the hidden semi-Markov chain.
TRIAL, GLANCE, HABIT, BINGE, AWAY = range(5)
LEVELS = ("trial", "glance", "habit", "binge", "away")
LEVEL_RATE = (0.55, 0.28, 1.10, 3.20, 0.012)

# Next level by kind and level (percent, over trial, glance, habit, binge, away); mood then tilts them.
MOVES = (
    ((0, 10, 1, 0, 89), (0, 0, 4, 1, 95), (0, 40, 0, 5, 55), (0, 30, 40, 0, 30), (0, 100, 0, 0, 0)),
    ((0, 45, 8, 2, 45), (0, 0, 20, 5, 75), (0, 50, 0, 10, 40), (0, 40, 40, 0, 20), (0, 85, 10, 5, 0)),
    ((0, 30, 45, 5, 20), (0, 0, 45, 8, 47), (0, 43, 0, 15, 42), (0, 10, 80, 0, 10), (0, 50, 40, 10, 0)),
    ((0, 15, 40, 35, 10), (0, 0, 42, 28, 30), (0, 30, 0, 40, 30), (0, 10, 75, 0, 15), (0, 30, 40, 30, 0)),
)  # fmt: skip
# Days in a level: Weibull (scale, shape), never geometric; 'away' is Burr (median, tail, shape), by kind.
DWELL = ((1.6, 1.6), (6.0, 1.8), (17.0, 1.6), (7.0, 2.2))
DWELL_BY_KIND = (0.8, 1.0, 1.2, 1.3)
AWAY_MEDIAN = (90.0, 32.0, 20.0, 13.0)

# Days of the week, Monday first, by habit of the person.
WEEKS = (
    (0.90, 0.90, 0.92, 0.95, 1.05, 1.20, 1.15),
    (0.65, 0.60, 0.60, 0.65, 0.95, 1.70, 1.60),
    (1.15, 1.15, 1.15, 1.10, 1.05, 0.70, 0.65),
    (1.00, 1.00, 1.00, 1.00, 1.00, 1.00, 1.00),
)
WEEK_SHARES = (0.40, 0.25, 0.20, 0.15)

# Local hours 0-23, by chronotype: weight on working days, then on Saturday and Sunday.
HOURS = (
    ((1, 1, 1, 1, 2, 6, 12, 14, 10, 6, 5, 6, 9, 6, 5, 5, 6, 9, 10, 9, 6, 4, 2, 1),
     (1, 1, 1, 1, 1, 3, 7, 11, 13, 12, 10, 9, 9, 8, 7, 7, 7, 7, 8, 8, 6, 4, 2, 1)),
    ((1, 1, 0, 0, 1, 2, 5, 10, 9, 5, 4, 6, 14, 10, 5, 5, 6, 11, 12, 11, 10, 8, 5, 2),
     (3, 2, 1, 1, 1, 1, 2, 4, 7, 10, 11, 11, 11, 10, 10, 10, 10, 10, 10, 10, 10, 9, 7, 5)),
    ((3, 1, 1, 1, 1, 1, 3, 6, 6, 4, 4, 4, 6, 5, 4, 5, 6, 8, 10, 14, 17, 18, 14, 8),
     (6, 4, 2, 1, 1, 1, 1, 2, 4, 6, 8, 9, 9, 9, 9, 10, 10, 10, 11, 13, 15, 16, 14, 9)),
    ((12, 9, 6, 4, 2, 1, 1, 2, 3, 3, 4, 4, 6, 6, 6, 6, 7, 8, 9, 10, 12, 15, 17, 16),
     (14, 12, 9, 6, 3, 1, 1, 1, 1, 2, 3, 5, 6, 8, 9, 9, 9, 9, 10, 11, 13, 15, 17, 17)),
)  # fmt: skip
CHRONO_SHARES = (0.22, 0.36, 0.28, 0.14)

SEASON = (1.06, 1.02, 0.99, 0.97, 0.95, 0.92, 0.90, 0.92, 0.97, 1.00, 1.04, 1.09)  # middle of each month
HOLIDAYS = {(12, 24): 0.80, (12, 25): 1.15, (12, 26): 1.25, (12, 31): 0.85, (1, 1): 1.20}
RELEASE_EVERY_DAYS = 42  # app releases, from day 21: six good or bad days for the quality of every session
SYSTEM_RELEASES = ((3, 25), (9, 16))  # month and day on which a system version appears

# Uninstalling, per day: by kind and level, times an age factor.
LEAVE = (
    (0.055, 0.040, 0.014, 0.008, 0.017),
    (0.034, 0.024, 0.010, 0.006, 0.013),
    (0.020, 0.013, 0.005, 0.004, 0.010),
    (0.014, 0.009, 0.004, 0.003, 0.009),
)
LEAVE_BY_AGE_DAYS = ((0, 3.6), (1, 2.4), (2, 1.8), (3, 1.5), (5, 1.25), (8, 1.1), (14, 1.0), (30, 0.75), (60, 0.55))
RETURN_SHARE = 0.12

# Money, in cents.
PAYERS = ("never", "small", "middle", "whale")
PAYER_BY_KIND = (0.11, 0.23, 0.41, 0.57)
PAYER_CLASS = (0.70, 0.265, 0.035)  # of those who would ever pay: small, middle, whale
BUDGET = ((900.0, 3.0, 1.8), (3600.0, 2.6, 1.7), (14000.0, 1.7, 1.5))  # median, tail, shape of a Burr law per payday
BUY_RATE = (0.0, 0.085, 0.15, 0.26)
LEVEL_APPETITE = (0.85, 0.70, 1.00, 1.25, 0.80)
LADDER = (99, 199, 499, 999, 1999, 4999, 9999)
MOST_PURCHASES = 3  # a day
REFUND_SHARE = (0.012, 0.014, 0.022, 0.030, 0.040, 0.055, 0.070)
PAYDAYS = ("weekly", "fortnight", "month_1", "month_15", "month_25", "pocket_money")
PAYDAY_SHARES = (0.12, 0.26, 0.22, 0.10, 0.22, 0.08)

# Pushes.
PUSH_CAMPAIGNS = ("new_content", "discount", "miss_you", "friends", "streak")
PUSH_GAIN = (1.00, 1.25, 0.90, 0.70, 1.10)
PUSH_LEVEL_GAIN = (0.80, 1.00, 0.55, 0.20, 2.20)
PUSH_TURN = 0.4  # share of users whose turn it is on a day
RECENCY_EDGES_DAYS = (2, 7, 21)
PROPENSITY = (  # by campaign and by days since last seen: 1, 2-6, 7-20, 21 and more
    (0.25, 0.50, 0.75, 0.65),
    (0.35, 0.50, 0.65, 0.60),
    (0.20, 0.50, 0.75, 0.75),
    (0.50, 0.50, 0.50, 0.50),
    (0.60, 0.50, 0.40, 0.30),
)
# Responsiveness: portrait part (by age band, by system) plus what the channel adds plus a hidden part.
PUSH_BY_AGE = (-0.90, 0.35, 0.90, 1.40, 1.10, 0.40)
PUSH_BY_SYSTEM = (0.30, 0.05)

# The shop.
GENRES = ("calm", "action", "puzzle", "story", "sport", "music", "craft", "social")
ITEMS_PER_GENRE = 60
ARCHETYPES = 64
